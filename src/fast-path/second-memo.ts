import { unixSeconds } from "../domain/clock.js";

export interface SecondMemoOptions {
  /** Grows with every change of a dataset, key, token or account that this process hears of. */
  readonly generation: () => number;
  /** With more, it begins anew: nothing depends on being remembered. */
  readonly maxEntries: number;
}

/** What is remembered of this second. It is empty in the next one, and as soon as anything has changed. */
export function createSecondMemo<Key, Value>(options: SecondMemoOptions): (now: Date) => Map<Key, Value> {
  const { generation, maxEntries } = options;
  const remembered = new Map<Key, Value>();
  let second = 0;
  let era = 0;
  return (now) => {
    if (unixSeconds(now) !== second || generation() !== era || remembered.size >= maxEntries) {
      remembered.clear();
      second = unixSeconds(now);
      era = generation();
    }
    return remembered;
  };
}
