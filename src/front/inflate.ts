import { createBrotliDecompress, createGunzip } from "node:zlib";
import { DomainError, invalid } from "../domain/errors.js";

const inflaters = { gzip: createGunzip, br: createBrotliDecompress };

export type Encoding = keyof typeof inflaters;

export const isEncoding = (name: string): name is Encoding => Object.hasOwn(inflaters, name);

/**
 * What was compressed, if it is no longer than that. Ends as soon as it is longer.
 * @param look sees how it begins, as soon as so much is there; what it throws ends the rest.
 * @throws DomainError resource_exhausted BODY_TOO_LARGE, or invalid_argument for what isn't compressed so or is cut off.
 */
export async function inflate(
  compressed: Buffer,
  encoding: Encoding,
  maxBytes: number,
  look: (head: Buffer) => void,
): Promise<Buffer> {
  const inflater = inflaters[encoding]();
  inflater.end(compressed);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of inflater) {
      const before = size;
      chunks.push(chunk);
      size += chunk.length;
      if (size > maxBytes) throw bodyTooLarge(maxBytes);
      if (before < HEAD_BYTES && size >= HEAD_BYTES) look(Buffer.concat(chunks));
    }
  } catch (error) {
    throw isZlibError(error) ? invalid("body", "decompression failed") : error;
  }
  return Buffer.concat(chunks);
}

/** So much of a long body is looked at before the rest is read or inflated: what amplifies is monotonous. */
export const HEAD_BYTES = 64 * 1024;

const isZlibError = (error: unknown): boolean =>
  error instanceof Error && "errno" in error && typeof error.errno === "number";

export const bodyTooLarge = (maxBytes: number): DomainError =>
  new DomainError("resource_exhausted", "BODY_TOO_LARGE", `the body has more than ${maxBytes} bytes`);
