import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A TCP connection that keeps what it received. It keeps its own side open when the server ends. */
export async function connectRaw(port: number) {
  const socket: Socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  onTestFinished(() => {
    socket.destroy();
  });
  const received: Buffer[] = [];
  const text = () => Buffer.concat(received).toString("latin1");
  socket.on("data", (chunk) => received.push(chunk));
  // A reset is one of the ways in which a server may end.
  const ended = new Promise<string>((resolve) => {
    for (const event of ["end", "error"]) socket.once(event, () => resolve(text()));
  });
  await once(socket, "connect");
  return {
    socket,
    /** What was received until now. */
    received: received as readonly Buffer[],
    /** All that was received, once the server has ended the connection. */
    ended,
    /** Resolves once the given text has been received. */
    async receives(expected: string) {
      while (!text().includes(expected)) await once(socket, "data");
    },
  };
}

export const http2Preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** One HTTP/2 frame (RFC 9113, 4.1). */
export function http2Frame(type: number, flags: number, streamId: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

export const http2EmptySettings = http2Frame(4, 0, 0);
