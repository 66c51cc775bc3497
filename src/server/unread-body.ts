import type { IncomingMessage, ServerResponse } from "node:http";
import { destroyAfterLinger } from "./linger.js";

/** Half as long as Go lets it be: what was sent and is not read takes memory meanwhile. */
const SENDING_LINGER_MS = 250;

/** So much of a body that nobody reads is received nevertheless, so that its connection may stay. */
const MAX_UNREAD_BYTES = 64 * 1024;

/** Whether a request's body is longer than what is received for nothing, or of unknown length. */
export const isLong = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > MAX_UNREAD_BYTES;

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
