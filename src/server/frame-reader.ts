import { Code, ConnectError } from "@connectrpc/connect";
import { FRAME_HEAD_BYTES } from "./stream-protocol.js";

/** Takes a stream of messages apart, however it is cut. */
export interface FrameReader {
  push(chunk: Buffer): void;
  /**
   * The next message; undefined until all of it has come.
   * @throws ConnectError resource_exhausted once one is announced that is too long, unimplemented for a compressed one.
   */
  next(): Buffer | undefined;
  /** Whether a message has begun and not ended. */
  isCut(): boolean;
}

const COMPRESSED = 1;

export function createFrameReader(maxMessageBytes: number): FrameReader {
  let received: Buffer = Buffer.alloc(0);
  return {
    push(chunk) {
      // What is left is at most one message.
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    },
    next() {
      if (received.length < FRAME_HEAD_BYTES) return undefined;
      const flags = received.readUInt8(0);
      if ((flags & COMPRESSED) !== 0) {
        throw new ConnectError("messages must not be compressed", Code.Unimplemented);
      }
      if (flags !== 0) throw new ConnectError("unknown flags of a message", Code.InvalidArgument);
      const length = received.readUInt32BE(1);
      if (length > maxMessageBytes) {
        throw new ConnectError(`a message has ${maxMessageBytes} bytes at most`, Code.ResourceExhausted);
      }
      const end = FRAME_HEAD_BYTES + length;
      if (received.length < end) return undefined;
      const message = received.subarray(FRAME_HEAD_BYTES, end);
      received = received.subarray(end);
      return message;
    },
    isCut: () => received.length > 0,
  };
}
