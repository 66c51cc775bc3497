/** What clients may cost, one or all together. Sizes in bytes, times in milliseconds; "in all" means in this process. */
export interface ServerLimits {
  /** All header fields of one request; over HTTP/1.1 the request line too. Above it: 431. */
  readonly maxHeaderBytes: number;
  /**
   * From the first moment of a connection, or the first byte of a later request, to the end of the headers; also for
   * the TLS handshake and the HTTP/2 preface. Against clients that hold connections open by sending slowly, or nothing.
   */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to the last of its body. At least headersTimeoutMs. */
  readonly requestTimeoutMs: number;
  /**
   * From the end of a request to the end of its answer, however little of it the client reads. An endless answer
   * ({@link CallClass}) only has to be read.
   */
  readonly answerTimeoutMs: number;
  /** How long a connection may stay open between requests. */
  readonly idleTimeoutMs: number;
  /** Connections in all. Above it they are told to come back, where the protocol has a word for it, and closed. */
  readonly maxConnections: number;
  /** Concurrent calls on one HTTP/2 connection. More are refused; clients queue or open another connection. */
  readonly maxConcurrentStreams: number;
  /** Concurrent calls in all. More are refused as overload: 503, or RESOURCE_EXHAUSTED. */
  readonly maxCalls: number;
  /**
   * Calls in all that wait for their clients: for the rest of the request, or to have the answer read. Above it the one
   * that has waited longest is reset, so that clients which neither send nor read keep out no others.
   */
  readonly maxWaitingCalls: number;
  /** What the answers of waiting calls may hold in all. Above it the same happens. */
  readonly maxWaitingBytes: number;
}

/** What the calls to a path may cost that are more than a question and an answer. */
export interface CallClass {
  /** Concurrent calls in all, over every path that has this same class. */
  readonly maxCalls: number;
  readonly maxCallsPerConnection: number;
  /** Whether an answer may go on for as long as its client reads it, as that of a watch. */
  readonly isEndless: boolean;
}

export const defaultLimits: ServerLimits = {
  // Node's own default for HTTP/1.1. A Connect GET of 50 datasets needs 2.5 KiB.
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  // As long as a call may take at all: a client that has not read the answer then has stopped waiting for it.
  answerTimeoutMs: 30_000,
  // A load balancer must be the first to close: otherwise it sends a request into a connection that is just closing,
  // and answers 502. Theirs are idle for 60 s (AWS, nginx) up to 600 s (Google Cloud, which recommends 620 s here).
  idleTimeoutMs: 620_000,
  // An idle HTTP/2 connection takes 20 kB, so these take 80 MB.
  maxConnections: 4_096,
  // Half of what RFC 9113 recommends as the least: 300 connections that open 100 streams each would take 140 MB before the
  // event loop has come round once. So many calls of 1 ms are 50,000 a second on one connection.
  maxConcurrentStreams: 50,
  // A stream takes about 20 kB besides its answer, so these take 30 MB. Calls that the caches answer are open for a
  // moment; of those that wait for the database, for 0.7 s at most, PostgreSQL answers about as many as this leaves.
  maxCalls: 1_000,
  // The other half is for calls that wait for nobody but us.
  maxWaitingCalls: 500,
  // Four times what 500 batches of 23 hold, at 8 kB each.
  maxWaitingBytes: 16 * 1024 * 1024,
};
