import type { IncomingHttpHeaders } from "node:http";
import { constants } from "node:http2";
import type { Socket } from "node:net";
import { destroyAfterLinger } from "./linger.js";

/** What overload answers: less than what it refuses would have cost. */
export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** May be left out where it could not be sent at once. */
  readonly body: string;
}

const MESSAGE = "too many calls at once";

/** Overload passes or moves in seconds, and clients add their own jitter. */
const RETRY_AFTER = { "retry-after": "1" };

const connectRefusal = refusal503("application/json", { code: "resource_exhausted", message: MESSAGE });

const restRefusal = refusal503("application/problem+json", {
  type: "about:blank",
  title: "Service Unavailable",
  status: 503,
  detail: MESSAGE,
});

/** The longest that a refusal can be. */
export const MAX_REFUSAL_BYTES = Math.max(connectRefusal.body.length, restRefusal.body.length);

function refusal503(contentType: string, body: object): Refusal {
  const text = JSON.stringify(body);
  const headers = { "content-type": contentType, "content-length": String(text.length), ...RETRY_AFTER };
  return { status: 503, headers, body: text };
}

const RPC_PATH = /^\/[\w.]+\.\w+\/\w+(?:\?|$)/;

/** How a call that there is no room for is answered, in the words of the protocol that it came by. */
export function refusalOf(url: string, headers: IncomingHttpHeaders): Refusal {
  const [grpc] = /^application\/grpc[\w+-]*/.exec(headers["content-type"] ?? "") ?? [];
  if (grpc !== undefined) {
    const trailers = { "content-type": grpc, "grpc-status": "8", "grpc-message": MESSAGE };
    return { status: 200, headers: { ...trailers, ...RETRY_AFTER }, body: "" };
  }
  return RPC_PATH.test(url) ? connectRefusal : restRefusal;
}

const HTTP1_REFUSAL =
  "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

/** An empty SETTINGS frame, which has to come first, and a GOAWAY: no stream was looked at, ENHANCE_YOUR_CALM. */
const HTTP2_REFUSAL = Buffer.from([
  ...[0, 0, 0, 4, 0, 0, 0, 0, 0],
  ...[0, 0, 8, 7, 0, 0, 0, 0, 0],
  ...[0, 0, 0, 0, 0, 0, 0, constants.NGHTTP2_ENHANCE_YOUR_CALM],
]);

/** Tells a client whose protocol is known that there is no room for its connection, and closes it. */
export function refuseConnection(socket: Socket, protocol: "http1" | "http2"): void {
  destroyAfterLinger(socket);
  socket.resume();
  socket.end(protocol === "http1" ? HTTP1_REFUSAL : HTTP2_REFUSAL);
}
