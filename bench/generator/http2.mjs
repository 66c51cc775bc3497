import { once } from "node:events";
import { connect } from "node:net";
import { GRPC_ERROR, parseFrames } from "./http2-frames.mjs";

const MAX_WINDOW = 2 ** 31 - 1;
const DEFAULT_WINDOW = 65_535;
const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE] = [0, 1, 3, 4, 6, 7, 8];
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;

/** @param {number} type @param {number} flags @param {number} stream @param {Buffer} [payload] */
export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** @param {number} value */
export const uint32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** HPACK: every field as a literal that is not indexed, so that each request is the same bytes. */
export function headerBlock(/** @type {readonly (readonly [string, string])[]} */ headers) {
  const text = (/** @type {string} */ value) => {
    const bytes = Buffer.from(value);
    if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
    const prefix = [127];
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) prefix.push((rest % 128) + 128);
    return Buffer.concat([Buffer.from([...prefix, rest]), bytes]);
  };
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

/**
 * A request with its place for the stream's id.
 * @param {{ headers: readonly (readonly [string, string])[], body: Buffer }} request
 */
export function prepareHttp2({ headers, body }) {
  const block = frame(HEADERS, END_HEADERS, 0, headerBlock(headers));
  if (body.length > 16_384) throw new Error("the request needs more than one DATA frame");
  return {
    bytes: Buffer.concat([block, frame(DATA, END_STREAM, 0, body)]),
    dataIdAt: block.length + 5,
    bodyBytes: body.length,
  };
}

/**
 * Connections over which calls are multiplexed, as raw frames.
 *
 * @param {{ port: number, connections: number, streams: number, onDone: import("./main.mjs").OnDone,
 *   onFail: (error: Error) => void }} options `streams`: in flight on one connection at most.
 * @returns {Promise<import("./main.mjs").Transport>}
 */
export async function openHttp2({ port, connections, streams, onDone, onFail }) {
  /** @type {{ slot: number, request: import("./main.mjs").Prepared, capture: boolean }[]} */
  const queue = [];
  const buffer = Buffer.allocUnsafe(256 * 1024);

  function createConnection() {
    /** @type {Map<number, { slot: number, status: number, bodyBytes: number, captured: Buffer[] | undefined }>} */
    const active = new Map();
    let nextStream = 1;
    let sendWindow = DEFAULT_WINDOW;
    let consumed = 0;

    const socket = connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer,
        callback(count) {
          // What this read sets off goes out in one write.
          socket.cork();
          parse(buffer, count);
          drain();
          socket.uncork();
          return true;
        },
      },
    });
    socket.on("error", onFail);
    socket.on("close", () => {
      if (active.size > 0) onFail(new Error("the server closed a connection in the middle of a call"));
    });

    const parse = parseFrames({
      wants: (type, stream) => (type === DATA ? active.get(stream)?.captured !== undefined : type > 1),
      onFrame(type, flags, stream, length, payload) {
        switch (type) {
          case DATA: {
            const call = active.get(stream);
            if (call === undefined) return;
            call.bodyBytes += length;
            if (payload) call.captured?.push(payload);
            consumed += length;
            if (consumed > MAX_WINDOW / 2) {
              socket.write(frame(WINDOW_UPDATE, 0, 0, uint32(consumed)));
              consumed = 0;
            }
            break;
          }
          case SETTINGS:
            if ((flags & ACK) === 0) socket.write(frame(SETTINGS, ACK, 0));
            return;
          case PING:
            if ((flags & ACK) === 0) socket.write(frame(PING, ACK, 0, payload));
            return;
          case WINDOW_UPDATE:
            if (stream === 0 && payload) sendWindow += payload.readUInt32BE();
            return;
          case RST_STREAM:
            // NO_ERROR after a whole answer: the server didn't need the request's body.
            if (active.has(stream)) onFail(new Error(`a stream was reset with ${payload?.readUInt32BE()}`));
            return;
          case GOAWAY:
            onFail(new Error(`GOAWAY ${payload?.readUInt32BE(4)}`));
            return;
        }
        if ((flags & END_STREAM) !== 0 && (type === DATA || type === HEADERS)) finish(stream);
      },
    });

    /** @param {number} stream */
    function finish(stream) {
      const call = active.get(stream);
      if (call === undefined) return;
      active.delete(stream);
      // An error over gRPC has no DATA; over Connect it is told by its size.
      const status = call.bodyBytes === 0 ? GRPC_ERROR : 200;
      onDone(call.slot, status, call.bodyBytes, call.captured && Buffer.concat(call.captured));
    }

    return {
      socket,
      start() {
        const settings = Buffer.alloc(12);
        settings.writeUInt16BE(2, 0); // ENABLE_PUSH
        settings.writeUInt16BE(4, 6); // INITIAL_WINDOW_SIZE
        settings.writeUInt32BE(MAX_WINDOW, 8);
        socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        socket.write(frame(SETTINGS, 0, 0, settings));
        socket.write(frame(WINDOW_UPDATE, 0, 0, uint32(MAX_WINDOW - DEFAULT_WINDOW)));
      },
      /** @param {number} bodyBytes */
      accepts: (bodyBytes) => active.size < streams && sendWindow >= bodyBytes,
      /** @param {number} slot @param {import("./main.mjs").Prepared} request @param {boolean} capture */
      send(slot, request, capture) {
        const bytes = Buffer.from(request.bytes);
        bytes.writeUInt32BE(nextStream, 5);
        bytes.writeUInt32BE(nextStream, request.dataIdAt);
        active.set(nextStream, { slot, status: 0, bodyBytes: 0, captured: capture ? [] : undefined });
        nextStream += 2;
        sendWindow -= request.bodyBytes;
        socket.write(bytes);
      },
    };
  }

  const all = Array.from({ length: connections }, createConnection);
  await Promise.all(all.map(({ socket }) => once(socket, "connect")));
  for (const connection of all) connection.start();
  let turn = 0;

  /** @param {number} bodyBytes */
  function freeConnection(bodyBytes) {
    for (let tried = 0; tried < all.length; tried++) {
      const connection = all[turn++ % all.length];
      if (connection?.accepts(bodyBytes)) return connection;
    }
    return undefined;
  }

  function drain() {
    for (let first = queue[0]; first !== undefined; first = queue[0]) {
      const connection = freeConnection(first.request.bodyBytes);
      if (connection === undefined) return;
      queue.shift();
      connection.send(first.slot, first.request, first.capture);
    }
  }

  return {
    send(slot, request, capture) {
      queue.push({ slot, request, capture });
      drain();
    },
    close() {
      for (const { socket } of all) socket.destroy();
    },
  };
}
