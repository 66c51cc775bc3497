import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Connection, Exchange, type Exchanges } from "./exchanges.js";
import type { HttpHandler } from "./http-handler.js";
import type { ServerLimits } from "./limits.js";
import { destroyAfterLinger } from "./linger.js";
import { receivedIsRead } from "./received.js";
import { refusalOf } from "./refusals.js";
import { endIfUnread, isLong } from "./unread-body.js";

/** Speaks one version of HTTP over sockets that are handed to it. */
export interface ProtocolServer {
  /** Takes over a connected socket, which is paused if bytes were read from it. */
  accept(socket: Socket): void;
  /** From now on, asks clients with each call to take another connection for the next one. Serves those that don't. */
  leave(): void;
  /**
   * Lets calls in flight finish and closes each connection as soon as it carries none. What has been received counts as
   * in flight. Resolves without waiting for the calls.
   */
  drain(): Promise<void>;
}

export interface ProtocolOptions {
  readonly limits: ServerLimits;
  readonly exchanges: Exchanges;
  readonly handler: HttpHandler;
}

/** HTTP/1.1. What the parser refuses is answered 400, 408, 413 or 431 without a body, and the connection closed. */
export function createHttp1(options: ProtocolOptions): ProtocolServer {
  const { limits, exchanges, handler } = options;
  const connections = new WeakMap<Socket, Connection>();
  let leaving = false;

  const answersUnderWay = (): ServerResponse[] =>
    exchanges.open.flatMap((exchange) => (exchange instanceof Http1Exchange ? exchange.answer : []));

  const server = createServer({
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
  });
  server.on("request", (request, response) => {
    const { socket } = request;
    const connection = connections.get(socket) ?? { admitted: 0, hasRead: false };
    connections.set(socket, connection);
    const exchange = new Http1Exchange(connection, request, response);
    const isAdmitted = exchanges.begin(exchange);
    response.on("close", () => exchanges.end(exchange));
    if (isLong(request)) endIfUnread(request, response);
    if (leaving) response.setHeader("Connection", "close");
    if (isAdmitted) handler(request, response, exchange);
    else refuse(request, response);
  });
  // Node's own answer resets the connection at once, and so may take the answer with it.
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable) return;
    const hasBegun = answersUnderWay().some((answer) => answer.socket === socket && answer.headersSent);
    if (hasBegun) {
      socket.destroy();
    } else {
      destroyAfterLinger(socket);
      socket.end(`HTTP/1.1 ${parserStatus(error.code)}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    }
  });
  // This server never listens itself. Without the event it would ignore both timeouts and closeIdleConnections.
  server.emit("listening");

  return {
    accept(socket) {
      server.emit("connection", socket);
      socket.resume();
    },
    leave() {
      leaving = true;
      for (const answer of answersUnderWay()) {
        if (!answer.headersSent) answer.setHeader("Connection", "close");
      }
    },
    async drain() {
      leaving = true;
      for (const answer of answersUnderWay()) {
        const { socket } = answer;
        if (answer.headersSent) answer.once("finish", () => socket?.destroySoon());
        else answer.setHeader("Connection", "close");
      }
      await receivedIsRead();
      // Closes idle connections. It ends the timeouts as well, but draining has its own.
      server.close();
    },
  };
}

class Http1Exchange extends Exchange {
  constructor(
    connection: Connection,
    private readonly request: IncomingMessage,
    readonly answer: ServerResponse,
  ) {
    // For a late request, the parser answers 408.
    super(connection, request.url ?? "", Number.POSITIVE_INFINITY);
  }

  hasArrived() {
    return this.request.complete;
  }

  /** Node ends these connections itself. */
  hasLeft() {
    return false;
  }

  /** Node 20 and 22 don't close the answers that wait behind another when the connection closes. */
  isGone() {
    return this.request.socket.destroyed;
  }

  cancel() {
    this.disconnect();
  }

  disconnect() {
    this.request.socket.destroy();
  }

  ended() {
    this.connection.hasRead ||= this.isAdmitted && this.answer.writableFinished;
  }
}

function refuse(request: IncomingMessage, response: ServerResponse): void {
  if (isLong(request)) response.setHeader("Connection", "close");
  const { status, headers, body } = refusalOf(request.url ?? "", request.headers);
  response.writeHead(status, headers);
  response.end(body);
}

function parserStatus(code: string | undefined): string {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return "431 Request Header Fields Too Large";
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return "413 Payload Too Large";
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return "408 Request Timeout";
    default:
      return "400 Bad Request";
  }
}
