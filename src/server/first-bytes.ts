import type { Socket } from "node:net";

/** The first bytes of every HTTP/2 connection (RFC 9113, 3.4). No HTTP/1.1 method begins so. */
const http2Preface = Buffer.from("PRI");

/**
 * Waits for the first bytes of a connection and tells which protocol they speak; the bytes stay in the socket, which is
 * paused. A client that closes first, or has not sent enough in time, is dropped.
 */
export function awaitFirstBytes(
  socket: Socket,
  timeoutMs: number,
  decided: (protocol: "http1" | "http2") => void,
): void {
  let received: Buffer = Buffer.alloc(0);
  const drop = () => socket.destroy();
  const deadline = setTimeout(drop, timeoutMs);
  socket.once("close", () => clearTimeout(deadline));
  socket.once("end", drop);
  socket.on("data", onData);

  function onData(chunk: Buffer) {
    received = Buffer.concat([received, chunk]);
    const head = received.subarray(0, http2Preface.length);
    const maybeHttp2 = http2Preface.subarray(0, head.length).equals(head);
    if (maybeHttp2 && head.length < http2Preface.length) return;
    clearTimeout(deadline);
    socket.off("data", onData);
    socket.off("end", drop);
    socket.pause();
    socket.unshift(received);
    // Once what unshifting has scheduled is over: in Node.js 20 that would flow before the socket tells that it is resumed, which
    // ends a pause that an unread body has caused meanwhile.
    process.nextTick(() => {
      if (!socket.destroyed) decided(maybeHttp2 ? "http2" : "http1");
    });
  }
}
