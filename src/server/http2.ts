import {
  constants,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import type { Socket } from "node:net";
import { Exchange, type Connection as ExchangesConnection } from "./exchanges.js";
import type { ProtocolOptions, ProtocolServer } from "./http1.js";
import { destroyAfterLinger, LINGER_MS } from "./linger.js";
import { receivedIsRead } from "./received.js";
import { MAX_REFUSAL_BYTES, refusalOf, refuseConnection } from "./refusals.js";
import { replaceStreamTable } from "./stream-table.js";

const {
  NGHTTP2_NO_ERROR: NO_ERROR,
  NGHTTP2_CANCEL: CANCEL,
  NGHTTP2_ENHANCE_YOUR_CALM: ENHANCE_YOUR_CALM,
} = constants;

export interface Http2Server extends ProtocolServer {
  /** Closes connections that are over time. To be called regularly. */
  look(): void;
  /**
   * Ends all calls with GOAWAY and the connections after it. If a connection is merely reset, Node's client may never
   * learn that its call is over.
   */
  abort(): void;
}

interface Connection extends ExchangesConnection {
  readonly session: ServerHttp2Session;
  /** The session gives out a proxy only, and nothing once it is destroyed. */
  readonly socket: Socket;
  readonly beganMs: number;
  /** The end of its last call. */
  usedMs: number;
  openStreams: number;
  hasSettings: boolean;
  isLeaving: boolean;
  /** Whether the client has ended its side. */
  hasEnded: boolean;
  /** Since when it is only to be closed, as far as looks have noticed. */
  overSinceMs: number | undefined;
  /** When a ping was sent that has not been answered yet. */
  pingedMs: number | undefined;
  /** Up to here it has sent whole header blocks, as an answered ping proved. */
  provenBytes: number;
}

/** A frame's head and the eight bytes that a ping carries (RFC 9113, 4.1 and 6.7). */
const PING_BYTES = 9 + 8;

type Arrived = readonly [Http2ServerRequest, Http2ServerResponse];

/** A quarter of the calls that may be open, and about 15 ms of work where caches answer. */
const ANSWERS_A_TURN = 256;

/**
 * So many may wait for their turn: what a core answers in 50 ms, and 10 MB. Above it the oldest is answered at once, or
 * refused: a flood has to be refused while it is being read.
 */
const MAX_ARRIVED = 500;

/**
 * The highest stream that there can be: a GOAWAY with it refuses nothing, not even what the client has sent before it
 * knew (RFC 9113, 6.8).
 */
const LAST_STREAM_ID = 2 ** 31 - 1;

/**
 * Node drops a field that begins or ends with a blank without a word, and a credential so would make an anonymous call.
 * Where this option exists (not in Node 20) such fields arrive as they are, and are refused like any that do not resolve.
 */
const lenientFields: ServerOptions & { strictFieldWhitespaceValidation: boolean } = {
  strictFieldWhitespaceValidation: false,
};

/**
 * HTTP/2, for gRPC and everything else. Floods of resets and pings are stopped by nghttp2 itself (1,000 resets in a
 * burst, then 33 a second; 1,000 unanswered pings), and memory per connection by Node (10 MB).
 */
export function createHttp2(options: ProtocolOptions): Http2Server {
  const { limits, exchanges, handler } = options;
  const connections = new Map<Http2Session, Connection>();
  /** What waits for its turn, the oldest first. */
  const arrived: Arrived[] = [];
  /** What a session is being made of. */
  let accepted: Socket;
  let leaving = false;

  const server = createServer(
    {
      ...lenientFields,
      settings: {
        maxConcurrentStreams: limits.maxConcurrentStreams,
        maxHeaderListSize: limits.maxHeaderBytes,
        enablePush: false,
      },
    },
    (request, response) => {
      // Node tells of a request before it has read what follows; by the next turn, what came with it has been read.
      if (arrived.length === 0) setImmediate(answerArrived);
      arrived.push([request, response]);
      const [oldest] = arrived.length > MAX_ARRIVED ? arrived.splice(0, 1) : [];
      if (oldest) answer(oldest);
    },
  );

  /** Not all in one turn: answers leave between turns, and count as open calls until then. */
  function answerArrived() {
    for (const one of arrived.splice(0, ANSWERS_A_TURN)) answer(one);
    if (arrived.length > 0) setImmediate(answerArrived);
  }

  function answer([request, response]: Arrived) {
    const { stream } = response;
    const connection = stream.session && connections.get(stream.session);
    // A client that resets at once (CVE-2023-44487) must not make work.
    if (!connection || stream.closed) return;
    const { session } = connection;
    const exchange = begin(connection, stream, request.url);
    if (!exchange.isAdmitted) {
      // Honest clients' calls may all have come while the process was busy, but not on connections that never got an answer.
      if (exchanges.isFlooded() && !connection.hasRead)
        session.destroy(new Error("flood"), ENHANCE_YOUR_CALM);
      else refuse(session, stream, request);
    } else if (headerListBytes(request.rawHeaders) > limits.maxHeaderBytes) {
      response.writeHead(431);
      response.end();
    } else {
      handler(request, response, exchange);
    }
  }

  server.on("session", (session) => {
    const nowMs = performance.now();
    const connection: Connection = {
      session,
      socket: accepted,
      admitted: 0,
      beganMs: nowMs,
      usedMs: nowMs,
      openStreams: 0,
      hasSettings: false,
      hasRead: false,
      isLeaving: false,
      hasEnded: false,
      overSinceMs: undefined,
      pingedMs: undefined,
      provenBytes: 0,
    };
    connections.set(session, connection);
    replaceStreamTable(session);
    session.once("close", () => connections.delete(session));
    session.once("remoteSettings", () => {
      connection.hasSettings = true;
    });
    // Node keeps a session whose client has left, as curl does, until something is written to it. A client that has only
    // closed its side still gets its answers.
    session.socket.once("end", () => {
      connection.hasEnded = true;
      session.close();
    });
  });

  function begin(connection: Connection, stream: ServerHttp2Stream, url: string): Http2Exchange {
    const { session } = connection;
    connection.openStreams += 1;
    // At the beginning of a call, when the client waits: Node's client fails calls that it has begun and not sent.
    if (leaving && !connection.isLeaving) {
      connection.isLeaving = true;
      session.goaway(NO_ERROR, LAST_STREAM_ID);
    }
    const exchange = new Http2Exchange(connection, stream, url, limits.requestTimeoutMs);
    stream.on("close", () => exchanges.end(exchange));
    exchanges.begin(exchange);
    return exchange;
  }

  /** The answer must not wait for a window, which its client need not ever open. */
  function refuse(session: ServerHttp2Session, stream: ServerHttp2Stream, request: Http2ServerRequest) {
    const refusal = refusalOf(request.url, request.headers);
    const fits =
      (session.remoteSettings.initialWindowSize ?? 0) >= MAX_REFUSAL_BYTES &&
      // All streams may be refused at once.
      (session.state.remoteWindowSize ?? 0) >= MAX_REFUSAL_BYTES * limits.maxConcurrentStreams;
    const hasBody = fits && refusal.body !== "" && request.method !== "HEAD";
    stream.respond({ ":status": refusal.status, ...refusal.headers }, { endStream: !hasBody });
    if (hasBody) stream.end(refusal.body);
  }

  function look(connection: Connection, nowMs: number) {
    const { session } = connection;
    const isOver = session.destroyed || (session.closed && connection.openStreams === 0);
    connection.overSinceMs = isOver ? (connection.overSinceMs ?? nowMs) : undefined;
    if (connection.overSinceMs !== undefined) {
      lookForUnsent(connection, nowMs - connection.overSinceMs);
    } else if (!connection.hasSettings) {
      if (nowMs - connection.beganMs >= limits.headersTimeoutMs) session.destroy();
    } else if (connection.openStreams === 0 && nowMs - connection.usedMs >= limits.idleTimeoutMs) {
      // Pings do not count as use: a client that keeps an unused connection alive gets a GOAWAY all the same.
      session.close();
    } else if (!connection.hasEnded) {
      lookForEndlessHeaders(connection, nowMs);
    }
  }

  /**
   * Node closes the socket of a session that is over once all is written. That is never where the client does not read what
   * came before, or, over TLS, where an earlier write failed because the client had gone.
   */
  function lookForUnsent({ socket, hasEnded }: Connection, overForMs: number) {
    if (overForMs >= (hasEnded ? LINGER_MS : limits.answerTimeoutMs)) socket.destroy();
  }

  /**
   * Node tells nothing of a header block before its end; but a client may send nothing else inside it, so not the answer
   * to a ping either (RFC 9113, 4.3). Each connection that has sent something since it last answered is pinged, once.
   */
  function lookForEndlessHeaders(connection: Connection, nowMs: number) {
    const { session, pingedMs } = connection;
    const { bytesRead } = session.socket;
    if (pingedMs !== undefined) {
      // Behind the body of a slow upload, the answer takes as long as that may.
      const timeoutMs = connection.openStreams > 0 ? limits.requestTimeoutMs : limits.headersTimeoutMs;
      if (nowMs - pingedMs >= timeoutMs) session.destroy();
    } else if (bytesRead !== connection.provenBytes) {
      connection.pingedMs = nowMs;
      session.ping((error) => {
        if (error) return;
        connection.pingedMs = undefined;
        // Not what has been read by now: behind its answer, the client may have begun a block.
        connection.provenBytes = bytesRead + PING_BYTES;
      });
    }
  }

  return {
    accept(socket) {
      // Of a flood, what comes with the first bytes would only be refused, after it has taken 200 kB.
      if (exchanges.isFlooded()) {
        refuseConnection(socket, "http2");
        return;
      }
      destroyAfterLinger(socket);
      accepted = socket;
      server.emit("connection", socket);
    },
    look() {
      const nowMs = performance.now();
      for (const connection of connections.values()) look(connection, nowMs);
    },
    leave() {
      leaving = true;
    },
    async drain() {
      await receivedIsRead();
      // GOAWAY; calls in flight finish, later ones on this connection are the client's to repeat elsewhere.
      for (const session of connections.keys()) session.close();
    },
    abort() {
      for (const session of connections.keys()) session.destroy();
    },
  };
}

class Http2Exchange extends Exchange {
  constructor(
    override readonly connection: Connection,
    readonly answer: ServerHttp2Stream,
    url: string,
    requestTimeoutMs: number,
  ) {
    super(connection, url, requestTimeoutMs);
  }

  hasArrived() {
    return this.answer.state.remoteClose === 1;
  }

  hasLeft() {
    return this.connection.hasEnded;
  }

  isGone() {
    return this.answer.destroyed;
  }

  cancel(reason: "late" | "crowded") {
    this.answer.close(reason === "late" ? CANCEL : ENHANCE_YOUR_CALM);
  }

  /** Not by its session, which would wait until the client has read what is written. */
  disconnect() {
    this.connection.socket.destroy();
  }

  ended() {
    const { connection, answer, isAdmitted } = this;
    connection.openStreams -= 1;
    connection.hasRead ||= isAdmitted && answer.rstCode === NO_ERROR;
    connection.usedMs = performance.now();
    // Node reads nothing more after a GOAWAY without calls.
    if (connection.isLeaving && connection.openStreams === 0) connection.session.close();
  }
}

/**
 * As RFC 9113 (6.5.2) counts. Node enforces maxHeaderListSize only once the client has acknowledged the settings,
 * which an attacker never does.
 */
function headerListBytes(rawHeaders: readonly string[]): number {
  let bytes = rawHeaders.length * 16;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}
