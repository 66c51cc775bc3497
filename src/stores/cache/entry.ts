/** What was known of one key when it was read: its value, or that it has none. */
export interface Entry<T> {
  /**
   * Which state of the row this is: the row's revision, 0 for one that never was. It only grows, so of two entries the
   * one with the greater revision is the newer, whichever came later.
   */
  readonly revision: number;
  /** Undefined: there is nothing by this key, or nothing any more. */
  readonly value: T | undefined;
  /** When the database said so: Unix milliseconds. No copy of it, at any level, outlives this plus its lifetime. */
  readonly readAt: number;
}

export interface Lifetimes {
  readonly ttlMs: number;
  /** For keys that never had a value: short, since another replica may be about to give them one. */
  readonly negativeTtlMs: number;
}

export const lifetimeMs = (
  entry: Pick<Entry<unknown>, "revision">,
  { ttlMs, negativeTtlMs }: Lifetimes,
): number => (entry.revision === 0 ? negativeTtlMs : ttlMs);

/** Values as compact JSON: positional arrays, whose meaning is fixed by FORMAT_VERSION. */
export interface Codec<T> {
  encode(value: T): readonly unknown[];
  /** @throws anything, for what encode didn't make. */
  decode(fields: readonly unknown[]): T;
}

/**
 * Counts the changes of any codec's fields: test/stores/cache/formats.test.ts says when. Replicas of different versions don't
 * read each other's entries.
 */
const FORMAT_VERSION = 3;

/** `version:revision:readAt:fields`; the shared level's script reads the first two. Without fields: no value. */
export function serialize<T>({ revision, value, readAt }: Entry<T>, codec: Codec<T>): string {
  const fields = value === undefined ? "" : JSON.stringify(codec.encode(value));
  return `${FORMAT_VERSION}:${revision}:${readAt}:${fields}`;
}

/** Undefined for a value of another version or a broken one: a miss. */
export function deserialize<T>(text: string, codec: Codec<T>): Entry<T> | undefined {
  const match = /^(\d+):(\d+):(\d+):/.exec(text);
  if (match === null || Number(match[1]) !== FORMAT_VERSION) return undefined;
  const fields = text.slice(match[0].length);
  try {
    const value = fields === "" ? undefined : codec.decode(JSON.parse(fields));
    return { revision: Number(match[2]), readAt: Number(match[3]), value };
  } catch {
    return undefined;
  }
}
