import type { Cluster, Redis } from "ioredis";
import { LRUCache } from "lru-cache";
import { createAttachment } from "../../domain/attachment.js";
import type { Clock } from "../../domain/clock.js";
import { bytesOfTexts } from "../../domain/text-bytes.js";
import type { Breaker } from "../redis/breaker.js";
import { createRedisScript } from "../redis/script.js";
import { type Announcement, CHANNEL } from "./announcements.js";
import { type Codec, deserialize, type Entry, type Lifetimes, lifetimeMs, serialize } from "./entry.js";
import type { SharedLevel } from "./versioned-cache.js";

/**
 * Puts each value unless the key has one of a greater revision, and publishes the message if there is one. A slow
 * reader that loaded the old row so never puts it back over the new one. Values that aren't ours are overwritten.
 * KEYS: the keys. ARGV: channel, message or "", lifetimes in ms of rows and of what never was one, and each key's value. Few,
 * since each costs this process as much as its bytes do.
 */
const PUT_SCRIPT = `
local function revisionOf(value) return tonumber(string.match(value, "^%d+:(%d+):")) end
for i, key in ipairs(KEYS) do
  local value = ARGV[4 + i]
  local known = redis.call("GET", key)
  local revision = known and revisionOf(known)
  local own = revisionOf(value)
  if not revision or revision <= own then
    redis.call("SET", key, value, "PX", own > 0 and ARGV[3] or ARGV[4])
  end
end
if ARGV[2] ~= "" then redis.call("PUBLISH", ARGV[1], ARGV[2]) end`;

/** A batch upsert's rows in one script would hold up the server: milliseconds for so many. */
const PUT_CHUNK = 500;

export interface RedisLevelOptions<T> {
  readonly redis: Redis | Cluster;
  /** Of the installation's keys and channel. */
  readonly prefix: string;
  readonly breaker: Breaker;
  readonly name: string;
  readonly codec: Codec<T>;
  readonly lifetimes: Lifetimes;
  readonly clock: Clock;
}

export interface RedisLevel<T> extends SharedLevel<T> {
  /**
   * Announces what could not be announced when it was committed. Without it, other replicas would go on with the former
   * state that Redis still has when it is back, until that expires.
   */
  announceAgain(): Promise<void>;
}

/** An entry as Redis has it. */
interface Put {
  readonly revision: number;
  readonly readAt: number;
  readonly text: string;
}

/** Of one kind, the newest: 7,000 usual datasets. A bulk import during an outage must not take all memory. */
const MAX_UNANNOUNCED_BYTES = 4 * 1024 * 1024;

/** Of a key and what it is put with, but for its text. */
const PUT_BYTES = 300;

/** The level that replicas share, in Redis or Valkey. */
export function createRedisLevel<T>(options: RedisLevelOptions<T>): RedisLevel<T> {
  const { redis, prefix, breaker, name, codec, lifetimes, clock } = options;
  const redisKey = (key: string) => `${prefix}${name}:${key}`;
  const runPut = createRedisScript(redis, PUT_SCRIPT);
  const unannounced = new LRUCache<string, Put>({
    maxSize: MAX_UNANNOUNCED_BYTES,
    sizeCalculation: ({ text }) => PUT_BYTES + bytesOfTexts([text], 1),
  });
  /** What entries were read from. */
  const readFrom = createAttachment<Entry<T>, string>();

  function entryOf(text: string, lastKnown: Entry<T> | undefined): Entry<T> | undefined {
    if (lastKnown !== undefined && readFrom.of(lastKnown) === text) return lastKnown;
    const entry = deserialize(text, codec);
    if (entry !== undefined) readFrom.attach(entry, text);
    return entry;
  }

  const toPut = ([key, entry]: readonly [string, Entry<T>]): [string, Put] => [
    key,
    { revision: entry.revision, readAt: entry.readAt, text: serialize(entry, codec) },
  ];

  const ttls = [1, 0].map((revision) => lifetimeMs({ revision }, lifetimes));

  function announcementOf(puts: readonly [string, Put][]): string {
    const revisions = puts.map(([key, { revision }]) => [key, revision] as const);
    return JSON.stringify({ cache: name, revisions } satisfies Announcement);
  }

  /** @returns What Redis did not take. */
  async function putAll(all: [string, Put][], announce: boolean): Promise<[string, Put][]> {
    const refused: [string, Put][] = [];
    for (let start = 0; start < all.length; start += PUT_CHUNK) {
      const chunk = all.slice(start, start + PUT_CHUNK);
      const keys = chunk.map(([key]) => redisKey(key));
      const message = announce ? announcementOf(chunk) : "";
      const texts = chunk.map(([, { text }]) => text);
      const taken = await breaker.attempt(() => runPut(keys, [prefix + CHANNEL, message, ...ttls, ...texts]));
      if (taken === undefined) refused.push(...chunk);
    }
    return refused;
  }

  async function announceAll(puts: [string, Put][]): Promise<void> {
    for (const [key, put] of await putAll(puts, true)) {
      const known = unannounced.get(key);
      if (known === undefined || known.revision <= put.revision) unannounced.set(key, put);
    }
  }

  return {
    async read(keys, lastKnown) {
      const texts = await breaker.attempt(() => redis.mget(keys.map(redisKey)));
      const entries = new Map<string, Entry<T>>();
      for (const [index, key] of keys.entries()) {
        const text = texts?.[index];
        const entry = text ? entryOf(text, lastKnown(key)) : undefined;
        if (entry !== undefined) entries.set(key, entry);
      }
      return entries;
    },

    async fill(entries) {
      // What a writer puts outlives every read that began before its commit, if that read gives up by half its life.
      const tooLate = clock().getTime() - lifetimes.ttlMs / 2;
      const inTime = [...entries].filter(([, { readAt }]) => readAt > tooLate);
      await putAll(inTime.map(toPut), false);
    },

    announce: (entries) => announceAll([...entries].map(toPut)),

    async announceAgain() {
      // Older than that, no copy of a former state is left.
      const expired = clock().getTime() - lifetimes.ttlMs;
      // The oldest first, so that they would make room for the newest again.
      const puts = [...unannounced.entries()].toReversed().filter(([, { readAt }]) => readAt > expired);
      unannounced.clear();
      if (puts.length > 0) await announceAll(puts);
    },
  };
}
