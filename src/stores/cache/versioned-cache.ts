import { LRUCache } from "lru-cache";
import type { Clock } from "../../domain/clock.js";
import { type Entry, type Lifetimes, lifetimeMs } from "./entry.js";

/** The level that replicas share. Its failures are its own affair: it never rejects. */
export interface SharedLevel<T> {
  /**
   * What it has of these keys. One round trip. An entry that is still the last known one, which may count no more, is that
   * same object: what was made of it holds on.
   */
  read(
    keys: readonly string[],
    lastKnown: (key: string) => Entry<T> | undefined,
  ): Promise<ReadonlyMap<string, Entry<T>>>;
  /** Puts what was read from the database, where it has nothing newer. */
  fill(entries: ReadonlyMap<string, Entry<T>>): Promise<void>;
  /** Puts what was just committed and tells the other replicas. */
  announce(entries: ReadonlyMap<string, Entry<T>>): Promise<void>;
}

/** What the database has by these keys; keys that it doesn't mention have no value. One statement. */
export type Load<T> = (
  keys: readonly string[],
) => Promise<ReadonlyMap<string, { value: T; revision: number }>>;

export interface VersionedCacheOptions<T> {
  readonly load: Load<T>;
  /** Absent: this process only. */
  readonly shared?: SharedLevel<T> | undefined;
  readonly lifetimes: Lifetimes;
  /** Entries in this process at most. */
  readonly maxEntries: number;
  readonly clock: Clock;
}

/**
 * Two levels in front of the database: this process, then what the replicas share. It decides authorization, so
 * its invariant is: after `announce` has been heard, no reader gets an older state.
 */
export interface VersionedCache<T> extends CoherentCache {
  /**
   * The entries of all keys, perhaps among others; a key whose state can't be read now is missing, unless all are: then it
   * rejects as the database did.
   */
  getMany(keys: readonly string[]): Promise<ReadonlyMap<string, Entry<T>>>;
  /** The value by this key, if this process has it and getMany would give it without asking anybody. */
  peek(key: string): T | undefined;
  /** After a commit: the rows as they now are. Resolves when the other replicas have been told, if they can be. */
  announce(entries: ReadonlyMap<string, Entry<T>>): Promise<void>;
}

/** What keeps a cache in step with other processes' writes, whatever it holds. */
export interface CoherentCache {
  /** Another process has announced these revisions. */
  invalidate(revisions: Iterable<readonly [key: string, revision: number]>): void;
  /** Announcements may be, or have been, missed: nothing from before counts. */
  clear(): void;
  /** How long entries may stay in this process, while announcements can't be heard. Undefined: their lifetime. */
  limitStay(milliseconds: number | undefined): void;
  /** Grows whenever something is announced: what was made of older answers may not hold any more. */
  readonly generation: number;
}

interface KeptEntry<T> {
  readonly entry: Entry<T>;
  /** Since when this process has it: Unix milliseconds. */
  readonly keptAt: number;
}

/** A read that is under way, shared by everybody who asks meanwhile. */
interface Flight<T> {
  /** Brings the entries of this key and of those that were asked for along with it. */
  readonly reading: Promise<ReadonlyMap<string, Entry<T>>>;
  /** The key was announced since the read began: what it brings may be old, and must not stay. */
  overtaken: boolean;
}

export function createVersionedCache<T>(options: VersionedCacheOptions<T>): VersionedCache<T> {
  const { load, shared, lifetimes, maxEntries, clock } = options;
  const local = new LRUCache<string, KeptEntry<T>>({ max: maxEntries });
  const flights = new Map<string, Flight<T>>();
  let maxStayMs = Number.POSITIVE_INFINITY;
  let generation = 0;

  const isFresh = (entry: Entry<T>, now: number): boolean =>
    now - entry.readAt < lifetimeMs(entry, lifetimes);

  function keep(key: string, entry: Entry<T>): void {
    const known = local.peek(key)?.entry;
    if (known !== undefined && known.revision > entry.revision) return;
    local.set(key, { entry, keptAt: clock().getTime() });
  }

  /** This process's entry, if it still counts. */
  function kept(key: string, now: number): Entry<T> | undefined {
    const known = local.get(key);
    const counts = known !== undefined && now - known.keptAt < maxStayMs && isFresh(known.entry, now);
    return counts ? known.entry : undefined;
  }

  const lastKnown = (key: string): Entry<T> | undefined => local.peek(key)?.entry;

  /** From the shared level, and what it lacks from the database. */
  async function read(keys: readonly string[]): Promise<ReadonlyMap<string, Entry<T>>> {
    const entries = new Map<string, Entry<T>>();
    for (const [key, entry] of (await shared?.read(keys, lastKnown)) ?? []) {
      if (isFresh(entry, clock().getTime())) entries.set(key, entry);
    }
    const missing = keys.filter((key) => !entries.has(key));
    if (missing.length === 0) return entries;

    // From before the statement: what it reads may be older than its answer.
    const readAt = clock().getTime();
    let rows: Awaited<ReturnType<Load<T>>>;
    try {
      rows = await load(missing);
    } catch (error) {
      if (entries.size === 0) throw error;
      return entries;
    }
    const loaded = new Map(
      missing.map((key) => [key, { value: undefined, revision: 0, ...rows.get(key), readAt }] as const),
    );
    void shared?.fill(loaded);
    for (const [key, entry] of loaded) entries.set(key, entry);
    return entries;
  }

  function startFlights(keys: readonly string[]): void {
    const reading = read(keys);
    const started = keys.map((key): [string, Flight<T>] => [key, { reading, overtaken: false }]);
    for (const [key, flight] of started) flights.set(key, flight);
    // Rejections reach those who wait; the flight itself is nobody's.
    reading
      .then((entries) => {
        for (const [key, { overtaken }] of started) {
          const entry = entries.get(key);
          if (entry !== undefined && !overtaken) keep(key, entry);
        }
      })
      .catch(() => undefined)
      .finally(() => {
        for (const [key, flight] of started) if (flights.get(key) === flight) flights.delete(key);
      });
  }

  /** Who asks from now on must not get what a read from before brings. */
  function overtake(key: string): void {
    const flight = flights.get(key);
    if (flight === undefined) return;
    flight.overtaken = true;
    flights.delete(key);
  }

  return {
    async getMany(keys) {
      const now = clock().getTime();
      const entries = new Map<string, Entry<T>>();
      const missing: string[] = [];
      for (const key of keys) {
        const entry = kept(key, now);
        if (entry !== undefined) entries.set(key, entry);
        else missing.push(key);
      }
      if (missing.length === 0) return entries;

      const unread = missing.filter((key) => !flights.has(key));
      if (unread.length > 0) startFlights(unread);
      // A thousand who wait for the same fifty keys wait for one promise, not for fifty thousand.
      const readings = missing.map((key) => flights.get(key)?.reading);
      const distinct = [...new Set(readings)];
      const [only] = distinct;
      if (only !== undefined && distinct.length === 1 && entries.size === 0) return only;
      const settled = await Promise.allSettled(distinct);
      const landed = new Map(distinct.map((reading, index) => [reading, settled[index]]));
      for (const [index, key] of missing.entries()) {
        const result = landed.get(readings[index]);
        const entry = result?.status === "fulfilled" ? result.value?.get(key) : undefined;
        if (entry !== undefined) entries.set(key, entry);
      }
      const failure = settled.find((result) => result.status === "rejected");
      if (entries.size === 0 && failure !== undefined) throw failure.reason;
      return entries;
    },

    peek: (key) => kept(key, clock().getTime())?.value,

    async announce(entries) {
      generation += 1;
      for (const [key, entry] of entries) {
        overtake(key);
        keep(key, entry);
      }
      await shared?.announce(entries);
    },

    invalidate(revisions) {
      generation += 1;
      for (const [key, revision] of revisions) {
        overtake(key);
        const known = local.peek(key)?.entry;
        if (known !== undefined && known.revision < revision) local.delete(key);
      }
    },

    clear() {
      generation += 1;
      for (const key of [...flights.keys()]) overtake(key);
      local.clear();
    },

    limitStay(milliseconds) {
      generation += 1;
      maxStayMs = milliseconds ?? Number.POSITIVE_INFINITY;
    },

    get generation() {
      return generation;
    },
  };
}
