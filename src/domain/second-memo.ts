/**
 * For how long what was made of an answer may stand for it: until the end of its second. A revocation that can't be heard of
 * takes so much longer, and what is cached lives so much shorter.
 */
export const REMEMBERED_MS = 1_000;

export interface SecondMemoOptions<Key = never, Value = never> {
  /** Grows with every change of a dataset, key, token, account or signing key that this process hears of. */
  readonly generation: () => number;
  readonly maxEntries: number;
  /** The same in bytes, as `sizeOf` counts them. Absent: entries are small, whoever sends them. */
  readonly maxBytes?: number;
  /** Of an entry and of whatever nothing else may hold. A key that is set twice counts twice. */
  readonly sizeOf?: (key: Key, value: Value) => number;
  /**
   * Nothing depends on being remembered. Default: to begin anew, as callers come and go. To stop until the next second is better
   * for what is dear to remember: whoever asks for more in turn than there is room for would find none of it.
   */
  readonly whenFull?: "begin_anew" | "stop";
}

export interface SecondMemo<Key, Value> {
  get(key: Key): Value | undefined;
  has(key: Key): boolean;
  /** Whether anything can still be set, for values that are dear to make. */
  hasRoom(): boolean;
  /** Without effect when there is no room for it: then the next call begins anew. */
  set(key: Key, value: Value): void;
}

/** What is remembered of this second. It is empty in the next one, and as soon as anything has changed. */
export function createSecondMemo<Key, Value>(
  options: SecondMemoOptions<Key, Value>,
): (now: Date) => SecondMemo<Key, Value> {
  const { generation, maxEntries, maxBytes = Number.POSITIVE_INFINITY, sizeOf = () => 0 } = options;
  const stopsWhenFull = options.whenFull === "stop";
  const remembered = new Map<Key, Value>();
  let second = 0;
  let era = 0;
  let bytes = 0;
  const isFull = () => remembered.size >= maxEntries || bytes > maxBytes;
  const memo: SecondMemo<Key, Value> = {
    get: (key) => remembered.get(key),
    has: (key) => remembered.has(key),
    hasRoom: () => !isFull(),
    set(key, value) {
      if (stopsWhenFull && isFull()) return;
      bytes += sizeOf(key, value);
      if (bytes <= maxBytes) remembered.set(key, value);
    },
  };
  return (now) => {
    const current = Math.floor(now.getTime() / REMEMBERED_MS);
    if ((!stopsWhenFull && isFull()) || current !== second || generation() !== era) {
      remembered.clear();
      bytes = 0;
      second = current;
      era = generation();
    }
    return memo;
  };
}
