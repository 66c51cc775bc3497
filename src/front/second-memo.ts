import { unixSeconds } from "../domain/clock.js";

export interface SecondMemoOptions<Key = never, Value = never> {
  /** Grows with every change of a dataset, key, token or account that this process hears of. */
  readonly generation: () => number;
  /** With more, it begins anew: nothing depends on being remembered. */
  readonly maxEntries: number;
  /** The same in bytes, as `sizeOf` counts them. Absent: entries are small, whoever sends them. */
  readonly maxBytes?: number;
  /** Of an entry and of whatever nothing else may hold. A key that is set twice counts twice. */
  readonly sizeOf?: (key: Key, value: Value) => number;
}

export interface SecondMemo<Key, Value> {
  get(key: Key): Value | undefined;
  has(key: Key): boolean;
  /** Without effect when there is no room for it: then the next call begins anew. */
  set(key: Key, value: Value): void;
}

/** What is remembered of this second. It is empty in the next one, and as soon as anything has changed. */
export function createSecondMemo<Key, Value>(
  options: SecondMemoOptions<Key, Value>,
): (now: Date) => SecondMemo<Key, Value> {
  const { generation, maxEntries, maxBytes = Number.POSITIVE_INFINITY, sizeOf = () => 0 } = options;
  const remembered = new Map<Key, Value>();
  let second = 0;
  let era = 0;
  let bytes = 0;
  const memo: SecondMemo<Key, Value> = {
    get: (key) => remembered.get(key),
    has: (key) => remembered.has(key),
    set(key, value) {
      bytes += sizeOf(key, value);
      if (bytes <= maxBytes) remembered.set(key, value);
    },
  };
  return (now) => {
    const isFull = remembered.size >= maxEntries || bytes > maxBytes;
    if (isFull || unixSeconds(now) !== second || generation() !== era) {
      remembered.clear();
      bytes = 0;
      second = unixSeconds(now);
      era = generation();
    }
    return memo;
  };
}
