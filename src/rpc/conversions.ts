import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { invalid } from "../domain/errors.js";
import { DEFAULT_PAGE_LIMIT, type ListRequest } from "../domain/page.js";
import { canonicalUuid } from "../domain/uuid.js";

/** Protobuf's "not set" for strings and numbers, as the domain's absence. */
export const orUndefined = <T extends string | number>(value: T): T | undefined => value || undefined;

export const optionalUuid = (text: string): string | undefined => orUndefined(canonicalUuid(text));

export const optionalTimestamp = (time: Date | undefined): Timestamp | undefined =>
  time === undefined ? undefined : timestampFromDate(time);

/** The last second of the year 9999: where RFC 3339 ends. The binary format itself has no such bound. */
const LAST_TIMESTAMP_SECONDS = 253_402_300_799n;

/** @throws DomainError INVALID_FIELD for a time outside the years 1970 to 9999. */
export function optionalDate(timestamp: Timestamp | undefined, field: string): Date | undefined {
  if (timestamp === undefined) return undefined;
  if (timestamp.seconds < 0n || timestamp.seconds > LAST_TIMESTAMP_SECONDS) {
    throw invalid(field, "must be within the years 1970 to 9999");
  }
  return timestampDate(timestamp);
}

export const toListRequest = ({ limit, cursor }: { limit: number; cursor: string }): ListRequest => ({
  limit: limit || DEFAULT_PAGE_LIMIT,
  cursor: orUndefined(cursor),
});

/**
 * The fields of `source` that `paths` (snake case) name, as a partial change.
 * @throws DomainError INVALID_FIELD for a path that `changeable` doesn't have.
 */
export function pick<T extends object, Key extends keyof T & string>(
  source: T,
  paths: readonly string[],
  changeable: Readonly<Record<string, Key>>,
): Partial<Pick<T, Key>> {
  if (paths.length === 0) throw invalid("update_mask", "must name at least one field");
  const change: Partial<Pick<T, Key>> = {};
  for (const path of paths) {
    const key = Object.hasOwn(changeable, path) ? changeable[path] : undefined;
    if (key === undefined)
      throw invalid("update_mask", "names a field that does not exist or can't be changed");
    change[key] = source[key];
  }
  return change;
}
