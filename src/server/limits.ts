/** What one client may cost. Sizes in bytes, times in milliseconds. */
export interface ServerLimits {
  /** All header fields of one request; over HTTP/1.1 the request line too. Above it: 431. */
  readonly maxHeaderBytes: number;
  /**
   * From the first moment of a connection, or the first byte of a later request, to the end of the headers; also for
   * the TLS handshake and the HTTP/2 preface. Against clients that hold connections open by sending slowly, or nothing.
   */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to the last of its body. At least headersTimeoutMs. Responses are not timed. */
  readonly requestTimeoutMs: number;
  /** How long a connection may stay open between requests. */
  readonly idleTimeoutMs: number;
  /** Concurrent calls on one HTTP/2 connection. More are refused; clients queue or open another connection. */
  readonly maxConcurrentStreams: number;
}

export const defaultLimits: ServerLimits = {
  // Node's own default for HTTP/1.1. A Connect GET of 50 datasets needs 2.5 KiB.
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  // A load balancer must be the first to close: otherwise it sends a request into a connection that is just closing,
  // and answers 502. Theirs are idle for 60 s (AWS, nginx) up to 600 s (Google Cloud, which recommends 620 s here).
  idleTimeoutMs: 620_000,
  // The least that RFC 9113 recommends, and what gRPC clients are tuned for.
  maxConcurrentStreams: 100,
};
