import { once } from "node:events";
import { connect } from "node:net";

/**
 * Keep-alive connections with one request in flight on each. Responses are parsed just far enough to know their
 * status and their end: a full HTTP client costs several times what the measured servers do.
 *
 * @param {{ port: number, connections: number, onDone: import("./main.mjs").OnDone,
 *   onFail: (error: Error) => void }} options
 * @returns {Promise<import("./main.mjs").Transport>}
 */
export async function openHttp1({ port, connections, onDone, onFail }) {
  /** @type {ReturnType<typeof createConnection>[]} */
  const idle = [];
  /** @type {{ slot: number, bytes: Buffer }[]} */
  const queue = [];
  // Read synchronously and never kept, so that all connections share it.
  const buffer = Buffer.allocUnsafe(256 * 1024);

  function createConnection() {
    /** -1: no request in flight. */
    let slot = -1;
    let status = 0;
    let bodyBytes = 0;
    /** Bytes of the body, or of the chunk, that are still to come. */
    let left = 0;
    let chunked = false;
    let lastChunk = false;
    let inBody = false;
    let captures = false;
    /** @type {Buffer[]} */
    let captured = [];
    /** The part of a header or a chunk's size that came without its end. @type {Buffer | undefined} */
    let carried;

    const socket = connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer,
        callback(count) {
          receive(carried ? Buffer.concat([carried, buffer.subarray(0, count)]) : buffer.subarray(0, count));
          return true;
        },
      },
    });
    socket.on("error", onFail);
    socket.on("close", () => {
      if (slot >= 0) onFail(new Error("the server closed a connection in the middle of a call"));
    });

    /** @param {Buffer} data */
    function receive(data) {
      carried = undefined;
      let offset = 0;
      while (offset < data.length) {
        const end = inBody ? body(data, offset) : header(data, offset);
        if (end < 0) {
          carried = Buffer.from(data.subarray(offset));
          return;
        }
        offset = end;
      }
    }

    /** @param {Buffer} data @param {number} start */
    function header(data, start) {
      const end = data.indexOf("\r\n\r\n", start);
      if (end < 0) return -1;
      const text = data.toString("latin1", start, end);
      status = Number(text.slice(9, 12));
      const length = /\r\ncontent-length: *(\d+)/i.exec(text);
      chunked = length === null;
      if (chunked && !/\r\ntransfer-encoding: *chunked/i.test(text)) {
        onFail(new Error(`neither content-length nor chunked: ${text}`));
      }
      left = length ? Number(length[1]) : 0;
      lastChunk = false;
      bodyBytes = 0;
      inBody = true;
      if (!chunked && left === 0) finish();
      return end + 4;
    }

    /** @param {Buffer} data @param {number} start */
    function body(data, start) {
      if (left === 0) {
        const end = data.indexOf("\r\n", start);
        if (end < 0) return -1;
        const size = Number.parseInt(data.toString("latin1", start, end), 16);
        lastChunk = size === 0;
        // The line end after the chunk is a part of what is skipped.
        left = size + 2;
        return end + 2;
      }
      const taken = Math.min(left, data.length - start);
      const content = chunked ? Math.max(0, Math.min(taken, left - 2)) : taken;
      bodyBytes += content;
      if (captures) captured.push(Buffer.from(data.subarray(start, start + content)));
      left -= taken;
      if (left === 0 && (!chunked || lastChunk)) finish();
      return start + taken;
    }

    function finish() {
      inBody = false;
      const finished = slot;
      slot = -1;
      const sample = captures ? Buffer.concat(captured) : undefined;
      captures = false;
      captured = [];
      const waiting = queue.shift();
      if (waiting) connection.send(waiting.slot, waiting.bytes, false);
      else idle.push(connection);
      onDone(finished, status, bodyBytes, sample);
    }

    const connection = {
      socket,
      /** @param {number} forSlot @param {Buffer} bytes @param {boolean} capture */
      send(forSlot, bytes, capture) {
        slot = forSlot;
        captures = capture;
        socket.write(bytes);
      },
    };
    return connection;
  }

  const all = Array.from({ length: connections }, createConnection);
  await Promise.all(all.map(({ socket }) => once(socket, "connect")));
  idle.push(...all);
  return {
    send(slot, { bytes }, capture) {
      const connection = idle.pop();
      if (connection) connection.send(slot, bytes, capture);
      else queue.push({ slot, bytes });
    },
    close() {
      for (const { socket } of all) socket.destroy();
    },
  };
}
