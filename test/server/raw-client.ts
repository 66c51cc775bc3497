import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { onTestFinished } from "vitest";

/**
 * A TCP connection that keeps what it received, or a TLS one that speaks HTTP/2 if it is given the server's certificate.
 * It keeps its own side open when the server ends.
 */
export async function connectRaw(port: number, ca?: Buffer) {
  const to = { port, host: "127.0.0.1", allowHalfOpen: true };
  const socket: Socket = ca ? connectTls({ ...to, ca, ALPNProtocols: ["h2"] }) : connect(to);
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
  await once(socket, ca ? "secureConnect" : "connect");
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
export function http2Frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

export const http2EmptySettings = http2Frame(4, 0, 0);

const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);

/** A header block (RFC 7541) without any compression; each name and value shorter than 127 bytes. */
export function http2HeaderBlock(fields: Readonly<Record<string, string>>): Buffer {
  const literals = Object.entries(fields).map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), text(name), text(value)]),
  );
  return Buffer.concat(literals);
}

export interface Http2Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** A connection on which HTTP/2 has begun: the settings of both sides are exchanged. It answers no ping. */
export async function connectRawHttp2(port: number, { initialWindowBytes = 65_535 } = {}) {
  const raw = await connectRaw(port);
  const frames: Http2Frame[] = [];
  let rest: Buffer = Buffer.alloc(0);
  raw.socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3);
      frames.push({
        type: rest.readUInt8(3),
        flags: rest.readUInt8(4),
        streamId: rest.readUInt32BE(5),
        payload: rest.subarray(9, end),
      });
      rest = rest.subarray(end);
    }
  });
  const setting = Buffer.alloc(6);
  setting.writeUInt16BE(4);
  setting.writeUInt32BE(initialWindowBytes, 2);
  raw.socket.write(Buffer.concat([http2Preface, http2Frame(4, 0, 0, setting), http2Frame(4, 1, 0)]));
  return {
    ...raw,
    frames,
    /** Resolves with the first such frame, received already or still to come. */
    async receivesFrame(isWanted: (frame: Http2Frame) => boolean): Promise<Http2Frame> {
      for (;;) {
        const frame = frames.find(isWanted);
        if (frame) return frame;
        await once(raw.socket, "data");
      }
    },
  };
}

/** A request without a body, or its beginning if it is not to end. */
export function http2Request(streamId: number, path: string, { ends = true } = {}): Buffer {
  const block = http2HeaderBlock({ ":method": "GET", ":scheme": "http", ":authority": "a", ":path": path });
  return http2Frame(1, ends ? 5 : 4, streamId, block);
}
