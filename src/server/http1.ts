import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Calls } from "./calls.js";
import type { HttpHandler } from "./http-handler.js";
import type { ServerLimits } from "./limits.js";
import { destroyAfterLinger } from "./linger.js";
import { receivedIsRead } from "./received.js";
import { refusalOf } from "./refusals.js";

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
  readonly calls: Calls;
  readonly handler: HttpHandler;
}

/** HTTP/1.1. What the parser refuses is answered 400, 408, 413 or 431 without a body, and the connection closed. */
export function createHttp1(options: ProtocolOptions): ProtocolServer {
  const { limits, calls, handler } = options;
  const responses = new Set<ServerResponse>();
  let leaving = false;

  const server = createServer({
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
  });
  server.on("request", (request, response) => {
    const { socket } = request;
    responses.add(response);
    const call = calls.begin({
      connection: socket,
      url: request.url ?? "",
      // The parser answers 408.
      requestTimeoutMs: Number.POSITIVE_INFINITY,
      answer: response,
      hasArrived: () => request.complete,
      // Node ends these connections itself.
      hasLeft: () => false,
      // Node 20 and 22 don't close the answers that wait behind another when the connection closes.
      isGone: () => socket.destroyed,
      cancel: () => socket.destroy(),
      disconnect: () => socket.destroy(),
      ended: () => responses.delete(response),
    });
    response.once("close", call.ended);
    if (leaving) response.setHeader("Connection", "close");
    if (call.isAdmitted) handler(request, response);
    else refuse(request, response);
  });
  // Node's own answer resets the connection at once, and so may take the answer with it.
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable) return;
    const hasBegun = [...responses].some((response) => response.socket === socket && response.headersSent);
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
      for (const response of responses) {
        if (!response.headersSent) response.setHeader("Connection", "close");
      }
    },
    async drain() {
      leaving = true;
      for (const response of responses) {
        const { socket } = response;
        if (response.headersSent) response.once("finish", () => socket?.destroySoon());
        else response.setHeader("Connection", "close");
      }
      await receivedIsRead();
      // Closes idle connections. It ends the timeouts as well, but draining has its own.
      server.close();
    },
  };
}

/** A body that nobody will read is not taken in: the connection ends with the answer. */
function refuse(request: IncomingMessage, response: ServerResponse): void {
  const { "content-length": length = "0", "transfer-encoding": encoding } = request.headers;
  if (length !== "0" || encoding !== undefined) response.setHeader("Connection", "close");
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
