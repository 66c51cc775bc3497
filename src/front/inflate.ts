import { createGunzip, gunzipSync } from "node:zlib";
import { DomainError, invalid } from "../domain/errors.js";

/**
 * What becomes of it so quickly, a fifth of a millisecond, that a thread would cost more: 50 kB for each stream, which stay for
 * a while when a hundred come at once.
 */
const AT_ONCE_BYTES = 64 * 1024;

/** So much of a long body is looked at before the rest is read or inflated: what amplifies is monotonous. */
export const HEAD_BYTES = 64 * 1024;

export interface InflateOptions {
  /** Of what it becomes. Ends as soon as it is longer. */
  readonly maxBytes: number;
  /** Hears of the bytes that are kept. What it throws ends the rest. */
  hold(bytes: number): void;
  /** Sees how what is long begins. What it throws ends the rest. */
  look(head: Buffer): void;
}

/**
 * What was compressed by gzip. Not by brotli, whose window of up to 16 MiB is the sender's choice.
 * @throws DomainError resource_exhausted BODY_TOO_LARGE, or invalid_argument for what isn't compressed so or is cut off.
 */
export async function inflate(compressed: Buffer, options: InflateOptions): Promise<Buffer> {
  const { maxBytes } = options;
  try {
    if (maxBytes > AT_ONCE_BYTES) return await inflateStream(compressed, options);
    const inflated = gunzipSync(compressed, { maxOutputLength: maxBytes });
    options.hold(inflated.length);
    return inflated;
  } catch (error) {
    if (error instanceof RangeError) throw bodyTooLarge(maxBytes);
    throw isZlibError(error) ? invalid("body", "decompression failed") : error;
  }
}

async function inflateStream(compressed: Buffer, { maxBytes, hold, look }: InflateOptions): Promise<Buffer> {
  const inflater = createGunzip();
  inflater.end(compressed);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of inflater) {
    const before = size;
    size += chunk.length;
    if (size > maxBytes) throw bodyTooLarge(maxBytes);
    hold(chunk.length);
    chunks.push(chunk);
    if (before < HEAD_BYTES && size >= HEAD_BYTES) look(Buffer.concat(chunks));
  }
  return Buffer.concat(chunks);
}

const isZlibError = (error: unknown): boolean =>
  error instanceof Error && "errno" in error && typeof error.errno === "number";

export const bodyTooLarge = (maxBytes: number): DomainError =>
  new DomainError("resource_exhausted", "BODY_TOO_LARGE", `the body has more than ${maxBytes} bytes`);
