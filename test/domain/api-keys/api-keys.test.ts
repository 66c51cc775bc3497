import { describe, expect, test } from "vitest";
import { createApiKeys } from "../../../src/domain/api-keys/api-keys.js";
import { ConcurrentChangeError } from "../../../src/domain/store.js";
import {
  ANONYMOUS,
  API_KEY,
  createFixture,
  DAY_MS,
  dataset,
  HOUR_MS,
  OPERATOR,
  OTHER_ACCOUNT,
  SERVICE,
  STRANGER,
  UNKNOWN_ID,
  user,
} from "./fixture.js";
import { createMemoryUnitOfWork } from "./memory-api-key-store.js";

const OWN_DATASET = "dddddddd-0000-4000-8000-000000000004";
const FOREIGN_DATASET = "eeeeeeee-0000-4000-8000-000000000005";
const failure = (kind: string, more: object = {}) => expect.objectContaining({ kind, ...more });
const PAGE = { limit: 50 };

describe("who may manage keys", () => {
  test("service tokens, administrators and the operator; strangers don't find them, others are refused", async () => {
    const { keys } = createFixture();
    const { key } = await keys.create(SERVICE, { name: "Map" });
    const calls = [
      (caller: typeof SERVICE) => keys.get(caller, key.id),
      (caller: typeof SERVICE) => keys.update(caller, key.id, { name: "Map" }),
      (caller: typeof SERVICE) => keys.rotate(caller, key.id),
      (caller: typeof SERVICE) => keys.delete(caller, key.id),
      (caller: typeof SERVICE) => keys.undelete(caller, key.id),
    ];
    for (const call of calls) {
      await expect(call(STRANGER)).rejects.toEqual(failure("not_found", { message: "API key not found" }));
      await expect(call(ANONYMOUS)).rejects.toEqual(failure("unauthenticated"));
      await expect(call(user(false))).rejects.toEqual(failure("permission_denied"));
      await expect(call(API_KEY)).rejects.toEqual(failure("permission_denied"));
    }
    for (const manager of [SERVICE, user(true), OPERATOR]) {
      expect((await keys.get(manager, key.id)).key.name).toBe("Map");
    }
    expect((await keys.list(SERVICE, PAGE)).totalCount).toBe(1);
    expect((await keys.list(STRANGER, PAGE)).items).toEqual([]);
  });

  test("an unknown id and a text that is no id look like another account's key", async () => {
    const { keys } = createFixture();
    for (const id of [UNKNOWN_ID, "no-uuid", ""]) {
      await expect(keys.get(OPERATOR, id)).rejects.toEqual(
        failure("not_found", { message: "API key not found" }),
      );
    }
  });

  test("the operator names the account, which must exist; others have their own", async () => {
    const { keys } = createFixture();
    await expect(keys.create(OPERATOR, {})).rejects.toEqual(failure("invalid_argument"));
    await expect(keys.list(OPERATOR, PAGE)).rejects.toEqual(failure("invalid_argument"));
    await expect(keys.create(OPERATOR, {}, UNKNOWN_ID)).rejects.toEqual(failure("not_found"));
    await expect(keys.create(SERVICE, {}, OTHER_ACCOUNT)).rejects.toEqual(failure("not_found"));
    expect((await keys.create(OPERATOR, {}, OTHER_ACCOUNT)).key.accountId).toBe(OTHER_ACCOUNT);
    expect((await keys.list(OPERATOR, PAGE, OTHER_ACCOUNT)).totalCount).toBe(1);
  });
});

describe("creation", () => {
  test("without settings gives an enabled, unrestricted key with a readable name", async () => {
    const { keys, now } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    expect(token).toMatch(/^tgk_[0-9A-Za-z]{33}$/);
    expect(key).toMatchObject({
      name: `Key 2026-11-21 ${key.id.slice(0, 4)}`,
      description: "",
      userAgent: "",
      origins: [],
      allowedIps: [],
      enabled: true,
      datasetIds: [],
      created: now(),
      changed: now(),
    });
    expect([key.expireTime, key.rateLimit, key.lastUsed, key.deleted, key.previous]).toEqual(
      new Array(5).fill(undefined),
    );
  });

  test("hands the store no token", async () => {
    const { keys, store } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    await keys.rotate(SERVICE, key.id);
    const stored = await store.read(key.id);
    for (const sealed of [stored?.current, stored?.previous]) {
      expect(Buffer.from(sealed?.ciphertext ?? []).toString("latin1")).not.toContain("tgk_");
    }
    expect(JSON.stringify(stored)).not.toContain(token.slice(4));
  });

  test("refuses a malformed origin or IP range, an expiry that has passed, and datasets that are not the account's", async () => {
    const { keys, now, store } = createFixture({
      datasets: [dataset({ id: OWN_DATASET }), dataset({ id: FOREIGN_DATASET, accountId: OTHER_ACCOUNT })],
    });
    const attempts = [
      [{ origins: ["a.com", "a.*.com"] }, failure("invalid_argument", { field: "origins[1]" })],
      [{ allowedIps: ["::1", "1.2.3"] }, failure("invalid_argument", { field: "allowed_ips[1]" })],
      [{ expireTime: now() }, failure("invalid_argument", { field: "expire_time" })],
      [{ datasetIds: [OWN_DATASET, FOREIGN_DATASET] }, failure("not_found")],
      [{ datasetIds: [UNKNOWN_ID] }, failure("not_found")],
    ] as const;
    for (const [settings, expected] of attempts) {
      await expect(keys.create(SERVICE, settings)).rejects.toEqual(expected);
    }
    expect(store.writes).toBe(0);
  });

  test("gives a rate limit without a window one of a minute, and clears it on null", async () => {
    const { keys } = createFixture();
    const { key } = await keys.create(SERVICE, { rateLimit: { requests: 5 } });
    expect(key.rateLimit).toEqual({ requests: 5, windowSeconds: 60 });
    const changed = await keys.update(SERVICE, key.id, { rateLimit: { requests: 6 } });
    expect(changed.key.rateLimit).toEqual({ requests: 6, windowSeconds: 60 });
    expect((await keys.update(SERVICE, key.id, { rateLimit: null })).key.rateLimit).toBeUndefined();
  });

  test("lists each dataset once, in canonical form", async () => {
    const { keys } = createFixture({ datasets: [dataset({ id: OWN_DATASET })] });
    const { key } = await keys.create(SERVICE, { datasetIds: [OWN_DATASET.toUpperCase(), OWN_DATASET] });
    expect(key.datasetIds).toEqual([OWN_DATASET]);
  });
});

describe("listing", () => {
  test("pages through all keys that are not deleted, newest first, and counts them", async () => {
    const { keys } = createFixture();
    const names = ["1", "2", "3", "4", "5"];
    for (const name of names) await keys.create(SERVICE, { name });
    await keys.create(STRANGER, { name: "not ours" });
    const { items } = await keys.list(SERVICE, PAGE);
    await keys.delete(SERVICE, items[1]?.key.id ?? "");

    const first = await keys.list(SERVICE, { limit: 3 });
    expect(first.items.map(({ key }) => key.name)).toEqual(["5", "3", "2"]);
    expect(first.totalCount).toBe(4);
    expect(first.items[0]?.token).toBe(items[0]?.token);
    expect(first.cursor).toBeDefined();
    const second = await keys.list(SERVICE, { limit: 3, cursor: first.cursor });
    expect(second.items.map(({ key }) => key.name)).toEqual(["1"]);
    expect(second.cursor).toBeUndefined();
  });
});

describe("change", () => {
  test("a present setting changes, null clears, an absent one stays", async () => {
    const { keys, now, passes } = createFixture({ datasets: [dataset({ id: OWN_DATASET })] });
    const { key, etag } = await keys.create(SERVICE, {
      name: "Map",
      description: "Our map",
      userAgent: "App",
      origins: ["a.com"],
      allowedIps: ["192.0.2.0/24"],
      enabled: false,
      expireTime: new Date(now().getTime() + DAY_MS),
      datasetIds: [OWN_DATASET],
      rateLimit: { requests: 10, windowSeconds: 60 },
    });
    passes(HOUR_MS);
    const renamed = await keys.update(SERVICE, key.id.toUpperCase(), { name: "Atlas", origins: undefined });
    expect(renamed.key).toEqual({ ...key, name: "Atlas", changed: now(), revision: 2 });
    expect(renamed.etag).not.toBe(etag);

    const cleared = await keys.update(SERVICE, key.id, {
      name: null,
      description: null,
      userAgent: null,
      origins: null,
      allowedIps: null,
      enabled: null,
      expireTime: null,
      datasetIds: null,
      rateLimit: null,
    });
    expect(cleared.key).toMatchObject({
      name: `Key 2026-11-21 ${key.id.slice(0, 4)}`,
      description: "",
      userAgent: "",
      origins: [],
      allowedIps: [],
      enabled: true,
      expireTime: undefined,
      datasetIds: [],
      rateLimit: undefined,
    });
  });

  test("is checked like a creation, and refused whole", async () => {
    const { keys, now } = createFixture();
    const { key, etag } = await keys.create(SERVICE, { origins: ["a.com"] });
    for (const change of [
      { name: "New", origins: ["*"] },
      { name: "New", expireTime: now() },
      { name: "New", datasetIds: [UNKNOWN_ID] },
    ]) {
      await expect(keys.update(SERVICE, key.id, change)).rejects.toThrow();
    }
    expect((await keys.get(SERVICE, key.id)).etag).toBe(etag);
  });

  test("accepts a dataset that the key lists already and that was deleted since", async () => {
    const { keys, catalog } = createFixture({ datasets: [dataset({ id: OWN_DATASET })] });
    const { key } = await keys.create(SERVICE, { datasetIds: [OWN_DATASET] });
    catalog.delete(OWN_DATASET);
    const { key: changed } = await keys.update(SERVICE, key.id, { name: "x", datasetIds: key.datasetIds });
    expect(changed.datasetIds).toEqual([OWN_DATASET]);
  });

  test("with a stale etag is aborted, be it an update, a deletion or a rotation", async () => {
    const { keys } = createFixture();
    const { key, etag } = await keys.create(SERVICE, {});
    const { etag: current } = await keys.update(SERVICE, key.id, { name: "1" }, etag);
    const stale = failure("aborted", { reason: "STALE_ETAG" });
    await expect(keys.update(SERVICE, key.id, { name: "2" }, etag)).rejects.toEqual(stale);
    await expect(keys.delete(SERVICE, key.id, etag)).rejects.toEqual(stale);
    await expect(keys.rotate(SERVICE, key.id, { etag })).rejects.toEqual(stale);
    expect((await keys.get(SERVICE, key.id)).etag).toBe(current);
    await keys.delete(SERVICE, key.id, current);
  });

  test("without an etag, loses nothing to a writer that came between reading and writing", async () => {
    const { keys, store } = createFixture();
    const { key } = await keys.create(SERVICE, {});
    store.beforeNextReplace = () => keys.update(SERVICE, key.id, { description: "theirs" });
    const { key: changed } = await keys.update(SERVICE, key.id, { name: "ours" });
    expect(changed).toMatchObject({ name: "ours", description: "theirs", revision: 3 });
  });

  test("with an etag, is aborted by a writer that came between reading and writing", async () => {
    const { keys, store } = createFixture();
    const { key, etag } = await keys.create(SERVICE, {});
    store.beforeNextReplace = () => keys.update(SERVICE, key.id, { description: "theirs" });
    await expect(keys.update(SERVICE, key.id, { name: "ours" }, etag)).rejects.toEqual(
      failure("aborted", { reason: "STALE_ETAG" }),
    );
  });

  test("is not tried for ever against writers that always win", async () => {
    const { keys, store, options } = createFixture();
    const { key } = await keys.create(SERVICE, {});
    let attempts = 0;
    const replace = async () => {
      attempts++;
      throw new ConcurrentChangeError();
    };
    const unitOfWork = createMemoryUnitOfWork({ apiKeys: { ...store, replace } });
    const contended = createApiKeys({ ...options, unitOfWork });
    await expect(contended.update(SERVICE, key.id, {})).rejects.toEqual(
      failure("aborted", { reason: "CONCURRENT_CHANGE" }),
    );
    expect(attempts).toBe(10);
  });
});

describe("deletion", () => {
  test("hides a key from listings and changes, and shows it to those who would restore it", async () => {
    const { keys, now } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    expect((await keys.delete(SERVICE, key.id)).key.deleted).toEqual(now());
    expect(await keys.list(SERVICE, PAGE)).toMatchObject({ items: [], totalCount: 0 });
    expect(await keys.get(SERVICE, key.id)).toMatchObject({ key: { deleted: now() }, token });
    for (const again of [
      () => keys.delete(SERVICE, key.id),
      () => keys.update(SERVICE, key.id, { name: "x" }),
      () => keys.rotate(SERVICE, key.id),
    ]) {
      await expect(again()).rejects.toEqual(failure("not_found"));
    }
  });

  test("can be undone within 30 days, with the same token", async () => {
    const { keys, passes } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    await keys.delete(SERVICE, key.id);
    passes(30 * DAY_MS - 1);
    const restored = await keys.undelete(SERVICE, key.id);
    expect(restored.token).toBe(token);
    expect(restored.key.deleted).toBeUndefined();
    expect((await keys.list(SERVICE, PAGE)).totalCount).toBe(1);
  });

  test("is final after 30 days", async () => {
    const { keys, passes } = createFixture();
    const { key } = await keys.create(SERVICE, {});
    await keys.delete(SERVICE, key.id);
    passes(30 * DAY_MS);
    await expect(keys.undelete(SERVICE, key.id)).rejects.toEqual(failure("not_found"));
    await expect(keys.get(SERVICE, key.id)).rejects.toEqual(failure("not_found"));
  });

  test("undone where there was none, changes nothing", async () => {
    const { keys } = createFixture();
    const { key, etag } = await keys.create(SERVICE, {});
    expect((await keys.undelete(SERVICE, key.id)).etag).toBe(etag);
  });
});

describe("rotation", () => {
  test("shows the new token, and the end of the grace period until it ends", async () => {
    const { keys, now, passes } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    const rotated = await keys.rotate(SERVICE, key.id);
    expect(rotated.token).not.toBe(token);
    expect(rotated.key.previous?.expireTime).toEqual(new Date(now().getTime() + DAY_MS));
    passes(DAY_MS - 1);
    expect((await keys.get(SERVICE, key.id)).key.previous).toBeDefined();
    passes(1);
    expect((await keys.get(SERVICE, key.id)).key.previous).toBeUndefined();
  });

  test("with no grace leaves no previous token", async () => {
    const { keys, store } = createFixture();
    const { key } = await keys.create(SERVICE, {});
    await keys.rotate(SERVICE, key.id, { gracePeriodSeconds: 0 });
    expect((await store.read(key.id))?.previous).toBeUndefined();
  });

  test("gives no grace past the key's own expiry, not even if that comes nearer afterwards", async () => {
    const { keys, now } = createFixture();
    const inHours = (hours: number) => new Date(now().getTime() + hours * HOUR_MS);
    const { key } = await keys.create(SERVICE, { expireTime: inHours(5) });
    expect((await keys.rotate(SERVICE, key.id)).key.previous?.expireTime).toEqual(inHours(5));
    const nearer = await keys.update(SERVICE, key.id, { expireTime: inHours(2) });
    expect(nearer.key.previous?.expireTime).toEqual(inHours(2));
    const farther = await keys.update(SERVICE, key.id, { expireTime: inHours(9) });
    expect(farther.key.previous?.expireTime).toEqual(inHours(2));
  });
});
