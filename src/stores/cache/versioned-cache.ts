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
  /** Entries in this process at most, and their bytes, as `bytesOf` counts values. */
  readonly maxEntries: number;
  readonly maxBytes: number;
  readonly bytesOf: (value: T) => number;
  readonly clock: Clock;
}

/**
 * Two levels in front of the database: this process, then what the replicas share. It decides authorization, so
 * its invariant is: after `announce` has been heard, no reader gets an older state.
 */
export interface VersionedCache<T> extends CoherentCache {
  /**
   * The entries of all keys; a key whose state can't be read now is missing, unless all are: then it rejects as the
   * database did. A key whose value is gone, or that `mayKnow` denies, has the entry of its decoy: no value, and that no
   * sooner and no later than for a key that never had one.
   */
  getMany(keys: readonly string[], mayKnow?: (value: T) => boolean): Promise<ReadonlyMap<string, Entry<T>>>;
  /** The value by this key, if this process has it and getMany would give it without asking anybody. */
  peek(key: string): T | undefined;
  /** After a commit: the rows as they now are. Resolves when the other replicas have been told, if they can be. */
  announce(entries: ReadonlyMap<string, Entry<T>>): Promise<void>;
}

/** Whether who asks may know of a value. */
type MayKnow<T> = ((value: T) => boolean) | undefined;

export const DECOY_SUFFIX = "?";

/**
 * What is looked up, through all levels, in the place of a key whose value must not show: else a value that is known well
 * would be refused sooner than one that isn't there. No caller's key ends so: nobody else warms it.
 */
const decoyOf = (key: string): string => key + DECOY_SUFFIX;

/** Nothing is to be found by a decoy: `load` must look for something that isn't there. */
export const isDecoy = (key: string): boolean => key.endsWith(DECOY_SUFFIX);

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
  /** Bytes. */
  readonly size: number;
}

/** A read that is under way, shared by everybody who asks meanwhile. */
interface Flight<T> {
  /** Brings the entries of this key and of those that were asked for along with it. */
  readonly reading: Promise<ReadonlyMap<string, Entry<T>>>;
  /** The key was announced since the read began: what it brings may be old, and must not stay. */
  overtaken: boolean;
}

/** Of an entry without a value, by measuring 2,000 of them. Its key is 64 characters at most, or as long as a name. */
const ENTRY_BYTES = 350;

/** What takes more is not kept. No value that the schema allows does. */
const MAX_ENTRY_BYTES = 256 * 1024;

export function createVersionedCache<T>(options: VersionedCacheOptions<T>): VersionedCache<T> {
  const { load, shared, lifetimes, maxEntries, maxBytes, bytesOf, clock } = options;
  const local = new LRUCache<string, KeptEntry<T>>({
    max: maxEntries,
    maxSize: maxBytes,
    maxEntrySize: Math.min(MAX_ENTRY_BYTES, maxBytes),
  });
  const flights = new Map<string, Flight<T>>();
  let maxStayMs = Number.POSITIVE_INFINITY;
  let generation = 0;

  const isFresh = (entry: Entry<T>, now: number): boolean =>
    now - entry.readAt < lifetimeMs(entry, lifetimes);

  function keep(key: string, entry: Entry<T>): void {
    const known = local.peek(key);
    const now = clock().getTime();
    // One that has had its time is not in the way: of a deleted row the database says that it isn't there, without revision.
    if (known && known.entry.revision > entry.revision && isFresh(known.entry, now)) return;
    const size = known?.entry === entry ? known.size : sizeOf(entry);
    local.set(key, { entry, keptAt: now, size }, { size });
  }

  const sizeOf = ({ value }: Entry<T>): number => ENTRY_BYTES + (value === undefined ? 0 : bytesOf(value));

  /** This process's entry, if it still counts. */
  function kept(key: string, now: number): Entry<T> | undefined {
    const known = local.get(key);
    const counts = known !== undefined && now - known.keptAt < maxStayMs && isFresh(known.entry, now);
    return counts ? known.entry : undefined;
  }

  const lastKnown = (key: string): Entry<T> | undefined => local.peek(key)?.entry;

  const isShown = (entry: Entry<T> | undefined, mayKnow: MayKnow<T>): boolean =>
    mayKnow === undefined || (entry?.value !== undefined && mayKnow(entry.value));

  /** The key whose entry counts for who asks. */
  const countingKey = (key: string, entry: Entry<T> | undefined, mayKnow: MayKnow<T>): string =>
    entry === undefined || entry.revision === 0 || isShown(entry, mayKnow) ? key : decoyOf(key);

  /** From the shared level, and what it lacks from the database. */
  async function read(keys: readonly string[], mayKnow: MayKnow<T>): Promise<ReadonlyMap<string, Entry<T>>> {
    const entries = new Map<string, Entry<T>>();
    if (shared !== undefined) {
      // Whether a decoy is needed shows in the answer only, and asking twice would tell. What was shown stays so, mostly.
      const decoys = keys.filter((key) => !isDecoy(key) && !isShown(lastKnown(key), mayKnow)).map(decoyOf);
      for (const [key, entry] of await shared.read([...keys, ...decoys], lastKnown)) {
        if (isFresh(entry, clock().getTime())) entries.set(key, entry);
      }
    }
    const missing = keys
      .map((key) => countingKey(key, entries.get(key), mayKnow))
      .filter((key) => !entries.has(key));
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
    const loaded = new Map<string, Entry<T>>();
    for (const key of missing) {
      const entry = { value: undefined, revision: 0, ...rows.get(key), readAt };
      loaded.set(key, entry);
      // It has just been waited for.
      const counting = countingKey(key, entry, mayKnow);
      if (counting !== key) loaded.set(counting, { value: undefined, revision: 0, readAt });
    }
    void shared?.fill(loaded);
    for (const [key, entry] of loaded) entries.set(key, entry);
    return entries;
  }

  function startFlights(keys: readonly string[], mayKnow: MayKnow<T>): void {
    const reading = read(keys, mayKnow);
    const started = new Map(keys.map((key): [string, Flight<T>] => [key, { reading, overtaken: false }]));
    for (const [key, flight] of started) flights.set(key, flight);
    // Rejections reach those who wait; the flight itself is nobody's.
    reading
      .then((entries) => {
        for (const [key, entry] of entries) if (!started.get(key)?.overtaken) keep(key, entry);
      })
      .catch(() => undefined)
      .finally(() => {
        for (const [key, flight] of started) if (flights.get(key) === flight) flights.delete(key);
      });
  }

  /**
   * Adds what reads bring, by key, for `asked`: what is looked up, for which key.
   * @returns What was to be looked up as well, as it turned out in reads that others had begun, who may know more.
   */
  async function land(
    asked: ReadonlyMap<string, string>,
    mayKnow: MayKnow<T>,
    entries: Map<string, Entry<T>>,
  ): Promise<ReadonlyMap<string, string>> {
    const keys = [...asked.keys()];
    const own = new Set(keys.filter((key) => !flights.has(key)));
    if (own.size > 0) startFlights([...own], mayKnow);
    // A thousand who wait for the same fifty keys wait for one promise, not for fifty thousand.
    const readings = keys.map((key) => flights.get(key)?.reading);
    const distinct = [...new Set(readings)];
    const settled = await Promise.allSettled(distinct);
    const landed = new Map(distinct.map((reading, index) => [reading, settled[index]]));
    const late = new Map<string, string>();
    for (const [index, lookedUp] of keys.entries()) {
      const result = landed.get(readings[index]);
      const brought = result?.status === "fulfilled" ? result.value : undefined;
      const counting = countingKey(lookedUp, brought?.get(lookedUp), mayKnow);
      const entry = brought?.get(counting);
      const key = asked.get(lookedUp) ?? lookedUp;
      if (entry !== undefined) entries.set(key, entry);
      else if (counting !== lookedUp && !own.has(lookedUp)) late.set(counting, key);
    }
    const failure = settled.find((result) => result.status === "rejected");
    if (entries.size === 0 && failure !== undefined) throw failure.reason;
    return late;
  }

  /** Who asks from now on must not get what a read from before brings. */
  function overtake(key: string): void {
    const flight = flights.get(key);
    if (flight === undefined) return;
    flight.overtaken = true;
    flights.delete(key);
  }

  return {
    async getMany(keys, mayKnow) {
      const now = clock().getTime();
      const entries = new Map<string, Entry<T>>();
      const missing = new Map<string, string>();
      for (const key of keys) {
        const own = kept(key, now);
        if (own === undefined) {
          missing.set(key, key);
          continue;
        }
        if (isShown(own, mayKnow)) {
          entries.set(key, own);
          continue;
        }
        // Looked up for what isn't there too: otherwise two microseconds would tell, which shows in a thousand answers.
        const decoy = decoyOf(key);
        const ofDecoy = kept(decoy, now);
        const entry = own.revision === 0 ? own : ofDecoy;
        if (entry !== undefined) entries.set(key, entry);
        else missing.set(decoy, key);
      }
      if (missing.size === 0) return entries;
      const late = await land(missing, mayKnow, entries);
      if (late.size > 0) await land(late, mayKnow, entries);
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
