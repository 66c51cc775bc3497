import type { IncomingMessage, ServerResponse } from "node:http";
import { constants } from "node:http2";
import type { HttpRequest, HttpResponse } from "./http-handler.js";
import { destroyAfterLinger } from "./linger.js";

/** Half as long as Go lets it be: what was sent and is not read takes memory meanwhile. */
const SENDING_LINGER_MS = 250;

/** So much of a body that nobody reads is received nevertheless, and its client told to stop only after it. */
const MAX_UNREAD_BYTES = 64 * 1024;

/**
 * By then, at a window of 64 KiB a round trip, an answer has been sent that waits for nothing but its turn: whose client sends
 * more does not take it.
 */
const MAX_UNANSWERED_BYTES = 16 * MAX_UNREAD_BYTES;

/** Whether a request's body is longer than what is received for nothing, or of unknown length. */
export const isLong = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > MAX_UNREAD_BYTES;

/**
 * Throws away what comes yet of the body of a request that is about to be answered: some clients read the answer only once they have
 * sent everything. If that is much, the client is told to stop: over HTTP/2 by a reset that blames nobody (RFC 9113, 8.1), over
 * HTTP/1.1 by the end of the connection.
 */
export function discardBody(request: HttpRequest, response: HttpResponse): void {
  if ("stream" in request) {
    const { stream } = request;
    let discarded = 0;
    request.on("data", (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded <= MAX_UNREAD_BYTES) return;
      // Not before the answer is sent whole: a reset overtakes what isn't, trailers too.
      if (stream.state.localClose === 1) stream.close(constants.NGHTTP2_NO_ERROR);
      else if (discarded > MAX_UNANSWERED_BYTES) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    });
  } else if (!request.complete && isLong(request)) {
    response.setHeader("connection", "close");
    return;
  }
  request.resume();
}

/**
 * Ends the connection of a request after its answer if its client is still sending then. Node's HTTP server would receive the rest
 * to its end, however long; or, where it is to end the connection, reset it, and so perhaps the answer.
 */
export function endIfUnread(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request;
  // What nobody has begun to read Node reads by itself.
  request.read();
  const end = () => {
    destroyAfterLinger(socket, SENDING_LINGER_MS);
    socket.end();
  };
  const { destroySoon } = socket;
  socket.destroySoon = () => (request.complete ? destroySoon.call(socket) : end());
  response.once("finish", () => {
    Reflect.deleteProperty(socket, "destroySoon");
    if (!request.complete && socket.writable) end();
  });
}
