import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** Enough for a round trip to the other end of the world, several times. */
const lingerMs = 2_000;

/**
 * Destroys the socket some time after its last byte was written. At once would reset the connection if the peer is
 * still sending, and a reset discards what the peer has not read yet; never would let it hold the connection open.
 */
export function destroyAfterLinger(socket: Socket, milliseconds = lingerMs): void {
  socket.once("finish", () => {
    const timer = setTimeout(() => socket.destroy(), milliseconds);
    socket.once("close", () => clearTimeout(timer));
  });
}

/** Half as long as Go lets it be: what was sent and is not read takes memory meanwhile. */
const SENDING_LINGER_MS = 250;

/**
 * The same for the connection of a request that Node's HTTP server ends after its answer, while its client is still sending
 * what nobody reads any more.
 */
export function lingerAfterAnswer(request: IncomingMessage): void {
  const { socket } = request;
  // One that nobody has begun to read Node would read to its end by itself.
  request.read();
  socket.destroySoon = () => {
    destroyAfterLinger(socket, SENDING_LINGER_MS);
    socket.end();
  };
}
