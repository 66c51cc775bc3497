import type { Codec } from "./entry.js";
import type { Load, VersionedCache } from "./versioned-cache.js";

/**
 * All there is to know of one kind of cached value. Each has a file of its own beside this one and is registered in
 * stores.ts, by one line.
 *
 * @typeParam Truth what it is loaded from.
 * @typeParam LookUps what is cached of it, for the domain.
 * @typeParam Writes what changes it, in a transaction.
 */
export interface CachedEntity<T, Truth, LookUps, Writes> {
  /** Of its keys in Redis, and of its announcements. */
  readonly name: string;
  /** What this process keeps at most, in entries and in bytes with what is made of them. */
  readonly maxEntries: number;
  readonly maxBytes: number;
  /** About how much memory a value takes in this process, with the text that it was read from and what is made of it. */
  readonly bytesOf: (value: T) => number;
  /** For how long what is made of it is remembered: so much sooner its entries end. */
  readonly rememberedMs: number;
  readonly codec: Codec<T>;
  load(truth: Truth): Load<T>;
  lookUps(cache: VersionedCache<T>): LookUps;
  /** `writes` of a transaction, of which `note` hears how the entries of their keys will be once it is committed. */
  noting(writes: Writes, note: Note<T>): Writes;
}

/** An entry as a write leaves it. */
export interface Written<T> {
  readonly revision: number;
  /** Undefined: there is nothing by this key any more. */
  readonly value: T | undefined;
}

export type Note<T> = (key: string, written: Written<T>) => void;

export const MIB = 1024 * 1024;

export const hex = (hash: Uint8Array): string => Buffer.from(hash).toString("hex");
