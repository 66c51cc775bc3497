import { promisify } from "node:util";
import { brotliDecompress, gunzip } from "node:zlib";
import { DomainError, invalid } from "../domain/errors.js";

const inflaters = { gzip: promisify(gunzip), br: promisify(brotliDecompress) };

export type Encoding = keyof typeof inflaters;

export const isEncoding = (name: string): name is Encoding => Object.hasOwn(inflaters, name);

/**
 * What was compressed, if it is no longer than that. Ends as soon as it is longer.
 * @throws DomainError resource_exhausted BODY_TOO_LARGE, or invalid_argument for what isn't compressed so or is cut off.
 */
export async function inflate(compressed: Buffer, encoding: Encoding, maxBytes: number): Promise<Buffer> {
  try {
    return await inflaters[encoding](compressed, { maxOutputLength: maxBytes });
  } catch (error) {
    const isTooLarge = error instanceof RangeError;
    throw isTooLarge ? bodyTooLarge(maxBytes) : invalid("body", "decompression failed");
  }
}

export const bodyTooLarge = (maxBytes: number): DomainError =>
  new DomainError("resource_exhausted", "BODY_TOO_LARGE", `the body has more than ${maxBytes} bytes`);
