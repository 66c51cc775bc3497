import { invalid } from "./errors.js";

/** One page of a listing, newest first. `before` is the position after which the listing goes on. */
export interface PageRequest {
  readonly limit: number;
  readonly before?: bigint;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Position of the last item. Absent on the last page. */
  readonly next?: bigint;
}

export const DEFAULT_PAGE_LIMIT = 50;

/** Opaque to callers: base64. Positions only grow, so a page stays right while rows come and go. */
export function encodeCursor(position: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(position);
  return bytes.toString("base64");
}

/** @throws DomainError INVALID_FIELD for anything that encodeCursor didn't make. */
export function decodeCursor(cursor: string, field = "cursor"): bigint {
  // A client that put it into a URL without encoding it sent a blank for each "+".
  const text = cursor.replaceAll(" ", "+");
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== 8 || bytes.toString("base64") !== text) {
    throw invalid(field, "is malformed");
  }
  return bytes.readBigInt64BE();
}
