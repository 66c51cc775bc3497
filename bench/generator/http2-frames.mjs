/** What stands for a status where a gRPC answer has no message. */
export const GRPC_ERROR = 500;

const HEAD_BYTES = 9;

/**
 * Splits a connection's bytes into frames, without copying payloads that nobody wants.
 *
 * @param {{
 *   wants(type: number, stream: number): boolean,
 *   onFrame(type: number, flags: number, stream: number, length: number, payload: Buffer | undefined): void,
 * }} options `onFrame` is called at the end of each frame.
 * @returns {(buffer: Buffer, count: number) => void} Takes the next `count` bytes.
 */
export function parseFrames({ wants, onFrame }) {
  const split = Buffer.alloc(HEAD_BYTES);
  let splitBytes = 0;
  let inPayload = false;
  let left = 0;
  let type = 0;
  let flags = 0;
  let stream = 0;
  let length = 0;
  /** @type {Buffer[] | undefined} */
  let kept;

  /** @param {Buffer} bytes @param {number} at */
  function begin(bytes, at) {
    length = bytes.readUIntBE(at, 3);
    type = bytes.readUInt8(at + 3);
    flags = bytes.readUInt8(at + 4);
    stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
    kept = wants(type, stream) ? [] : undefined;
    left = length;
    inPayload = true;
  }

  return (buffer, count) => {
    let offset = 0;
    while (offset < count || (inPayload && left === 0)) {
      if (!inPayload) {
        if (splitBytes === 0 && count - offset >= HEAD_BYTES) {
          begin(buffer, offset);
          offset += HEAD_BYTES;
        } else {
          const taken = Math.min(HEAD_BYTES - splitBytes, count - offset);
          buffer.copy(split, splitBytes, offset, offset + taken);
          splitBytes += taken;
          offset += taken;
          if (splitBytes < HEAD_BYTES) return;
          splitBytes = 0;
          begin(split, 0);
        }
      }
      const taken = Math.min(left, count - offset);
      if (kept && taken > 0) kept.push(Buffer.from(buffer.subarray(offset, offset + taken)));
      left -= taken;
      offset += taken;
      if (left > 0) return;
      inPayload = false;
      onFrame(type, flags, stream, length, kept && Buffer.concat(kept));
    }
  };
}
