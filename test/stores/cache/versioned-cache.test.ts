import { beforeEach, describe, expect, test } from "vitest";
import { unavailable } from "../../../src/domain/errors.js";
import type { Entry } from "../../../src/stores/cache/entry.js";
import { createVersionedCache, type VersionedCache } from "../../../src/stores/cache/versioned-cache.js";

const TTL = 60_000;
const NEGATIVE_TTL = 5_000;
const MAX_BYTES = 1_000_000;

/** A database of one table, whose reads can be held up between reading and answering. */
function createDatabase() {
  const rows = new Map<string, { value: string; revision: number }>();
  const reads: string[][] = [];
  let gate: Promise<void> | undefined;
  let failure: Error | undefined;
  let onTaken = () => {};
  return {
    rows,
    reads,
    fail(error: Error | undefined) {
      failure = error;
    },
    /** Reads from now on take their answer at once, and deliver it after resume(). */
    pause() {
      let open = () => {};
      gate = new Promise((resolve) => {
        open = resolve;
      });
      const taken = new Promise<void>((resolve) => {
        onTaken = resolve;
      });
      const resume = () => {
        gate = undefined;
        open();
      };
      return { taken, resume };
    },
    async load(keys: readonly string[]) {
      reads.push([...keys]);
      if (failure) throw failure;
      const found = new Map([...rows].filter(([key]) => keys.includes(key)));
      onTaken();
      await gate;
      return found;
    },
  };
}

let now: number;
let database: ReturnType<typeof createDatabase>;
let cache: VersionedCache<string>;

beforeEach(() => {
  now = 1_800_000_000_000;
  database = createDatabase();
  cache = createVersionedCache({
    load: database.load,
    lifetimes: { ttlMs: TTL, negativeTtlMs: NEGATIVE_TTL },
    maxEntries: 100,
    maxBytes: MAX_BYTES,
    bytesOf: (value) => value.length,
    clock: () => new Date(now),
  });
});

const read = async (key: string) => (await cache.getMany([key])).get(key)?.value;
const announce = (key: string, entry: Omit<Entry<string>, "readAt">) =>
  cache.announce(new Map([[key, { ...entry, readAt: now }]]));

describe("a read", () => {
  test("is answered from this process for its lifetime, and not a millisecond longer", async () => {
    database.rows.set("a", { value: "old", revision: 1 });
    expect(await read("a")).toBe("old");
    database.rows.set("a", { value: "new", revision: 2 });
    now += TTL - 1;
    expect(await read("a")).toBe("old");
    now += 1;
    expect(await read("a")).toBe("new");
  });

  test("of what doesn't exist is remembered too, but shortly", async () => {
    expect(await read("a")).toBeUndefined();
    database.rows.set("a", { value: "here", revision: 1 });
    now += NEGATIVE_TTL - 1;
    expect(await read("a")).toBeUndefined();
    now += 1;
    expect(await read("a")).toBe("here");
  });

  test("of several keys asks once for those that are missing", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    await cache.getMany(["a"]);
    await cache.getMany(["a", "b", "c"]);
    expect(database.reads).toEqual([["a"], ["b", "c"]]);
  });

  test("is shared by a thousand who ask for the same at once", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    const { taken, resume } = database.pause();
    const asked = Array.from({ length: 1000 }, () => cache.getMany(["a", "b"]));
    await taken;
    resume();
    for (const entries of await Promise.all(asked)) expect(entries.get("a")?.value).toBe("a");
    expect(database.reads).toEqual([["a", "b"]]);
  });

  test("does not hold more than so many entries", async () => {
    for (let i = 0; i < 101; i++) database.rows.set(`key${i}`, { value: "", revision: 1 });
    for (let i = 0; i < 101; i++) await read(`key${i}`);
    await read("key0");
    expect(database.reads).toHaveLength(102);
  });
});

describe("values that somebody makes large", () => {
  const large = "x".repeat(MAX_BYTES / 10);

  test("drive out what was used longest ago before they are more than so many bytes", async () => {
    for (let i = 0; i < 10; i++) database.rows.set(`key${i}`, { value: large, revision: 1 });
    for (let i = 0; i < 10; i++) await read(`key${i}`);
    await read("key9");
    expect(database.reads).toHaveLength(10);
    await read("key0");
    expect(database.reads).toHaveLength(11);
  });

  test("are not kept at all beyond 256 kB, nor what they replace", async () => {
    database.rows.set("a", { value: "small", revision: 1 });
    await read("a");
    const value = "x".repeat(256 * 1024);
    database.rows.set("a", { value, revision: 2 });
    await announce("a", { value, revision: 2 });
    expect(await read("a")).toBe(value);
    expect(await read("a")).toBe(value);
    expect(database.reads).toHaveLength(3);
  });
});

describe("who may not know of a value", () => {
  const nobody = () => false;
  const anybody = () => true;
  const ask = async (mayKnow: () => boolean, ...keys: string[]) =>
    [...(await cache.getMany(keys, mayKnow)).values()].map(({ value }) => value);

  test("waits for a read, however well it is known, and then as long as for what isn't there", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    expect(await ask(anybody, "a")).toEqual(["a"]);
    expect(await ask(nobody, "a", "b")).toEqual([undefined, undefined]);
    now += NEGATIVE_TTL - 1;
    expect(await ask(nobody, "a", "b")).toEqual([undefined, undefined]);
    expect(database.reads).toEqual([["a"], ["a?", "b"]]);
    now += 1;
    expect(await ask(nobody, "a", "b")).toEqual([undefined, undefined]);
    expect(database.reads.slice(2)).toEqual([["a?", "b"]]);
    expect(await ask(anybody, "a")).toEqual(["a"]);
  });

  test("waits for the read that brings it, and no further", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    expect(await ask(nobody, "a")).toEqual([undefined]);
    expect(await ask(nobody, "a")).toEqual([undefined]);
    expect(database.reads).toEqual([["a"]]);
  });

  test("waits for a read of their own after one that somebody else began who may", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    const { taken, resume } = database.pause();
    const asked = [ask(anybody, "a"), ask(nobody, "a")];
    await taken;
    resume();
    expect(await Promise.all(asked)).toEqual([["a"], [undefined]]);
    expect(database.reads).toEqual([["a"], ["a?"]]);
  });

  test("is told nothing while the database is away, as of what isn't there", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    await ask(anybody, "a");
    database.fail(unavailable("the database", new Error("refused")));
    await expect(ask(nobody, "a")).rejects.toThrow();
    await expect(ask(nobody, "b")).rejects.toThrow();
    expect(await ask(anybody, "a")).toEqual(["a"]);
  });
});

describe("an announced write", () => {
  test("is seen at once, without a read", async () => {
    database.rows.set("a", { value: "old", revision: 1 });
    await read("a");
    await announce("a", { value: "new", revision: 2 });
    expect(await read("a")).toBe("new");
    expect(database.reads).toHaveLength(1);
  });

  test("of another replica ends what is older, and only that", async () => {
    database.rows.set("a", { value: "current", revision: 2 });
    await read("a");
    cache.invalidate([["a", 2]]);
    await read("a");
    expect(database.reads).toHaveLength(1);
    cache.invalidate([["a", 3]]);
    await read("a");
    expect(database.reads).toHaveLength(2);
  });

  test("is not undone by an announcement that arrives late", async () => {
    await announce("a", { value: "newest", revision: 3 });
    await announce("a", { value: "older", revision: 2 });
    expect(await read("a")).toBe("newest");
  });

  test("of a deletion is not undone by a slow read from before it", async () => {
    database.rows.set("a", { value: "old", revision: 1 });
    const { taken, resume } = database.pause();
    const slow = read("a");
    await taken;
    database.rows.delete("a");
    await announce("a", { value: undefined, revision: 2 });
    resume();
    expect(await slow).toBe("old");
    expect(await read("a")).toBeUndefined();
    expect(database.reads).toHaveLength(1);
  });

  test("of a deletion leaves nothing behind once it has had its time", async () => {
    await announce("a", { value: undefined, revision: 2 });
    now += TTL;
    await read("a");
    await read("a");
    expect(database.reads).toHaveLength(1);
  });

  test("is not kept out by a slow read of another replica's old row, nor joined to it", async () => {
    database.rows.set("a", { value: "old", revision: 1 });
    const { taken, resume } = database.pause();
    const slow = read("a");
    await taken;
    database.rows.set("a", { value: "new", revision: 2 });
    cache.invalidate([["a", 2]]);
    const after = read("a");
    resume();
    expect(await slow).toBe("old");
    expect(await after).toBe("new");
    expect(await read("a")).toBe("new");
    expect(database.reads).toHaveLength(2);
  });
});

describe("while announcements can't be heard", () => {
  test("entries stay for a shorter time", async () => {
    database.rows.set("a", { value: "old", revision: 1 });
    await read("a");
    cache.limitStay(2_000);
    database.rows.set("a", { value: "new", revision: 2 });
    now += 1_999;
    expect(await read("a")).toBe("old");
    now += 1;
    expect(await read("a")).toBe("new");
  });

  test("afterwards nothing from before counts, not even a read that is under way", async () => {
    database.rows.set("a", { value: "old", revision: 1 });
    const { taken, resume } = database.pause();
    const slow = read("a");
    await taken;
    cache.clear();
    database.rows.set("a", { value: "new", revision: 2 });
    resume();
    await slow;
    expect(await read("a")).toBe("new");
  });
});

describe("while the database is away", () => {
  const outage = unavailable("the database", new Error("refused"));

  test("what is known is answered, and the rest is left out", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    await read("a");
    database.fail(outage);
    expect([...(await cache.getMany(["a", "b"])).keys()]).toEqual(["a"]);
  });

  test("a read of which nothing is known fails as the database does", async () => {
    database.fail(outage);
    await expect(cache.getMany(["a", "b"])).rejects.toBe(outage);
  });

  test("nothing is answered beyond its lifetime", async () => {
    database.rows.set("a", { value: "a", revision: 1 });
    await read("a");
    database.fail(outage);
    now += TTL;
    await expect(cache.getMany(["a"])).rejects.toBe(outage);
  });

  test("the failure itself is not remembered", async () => {
    database.fail(outage);
    await expect(cache.getMany(["a"])).rejects.toBe(outage);
    database.fail(undefined);
    database.rows.set("a", { value: "back", revision: 1 });
    expect(await read("a")).toBe("back");
  });
});
