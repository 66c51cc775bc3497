import type { Socket } from "node:net";

/** Enough for a round trip to the other end of the world, several times. */
export const LINGER_MS = 2_000;

/**
 * Destroys the socket some time after its last byte was written. At once would reset the connection if the peer is
 * still sending, and a reset discards what the peer has not read yet; never would let it hold the connection open.
 */
export function destroyAfterLinger(socket: Socket, milliseconds = LINGER_MS): void {
  socket.once("finish", () => {
    const timer = setTimeout(() => socket.destroy(), milliseconds);
    socket.once("close", () => clearTimeout(timer));
  });
}
