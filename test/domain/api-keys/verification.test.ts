import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createApiKeys } from "../../../src/domain/api-keys/api-keys.js";
import { createVault } from "../../../src/domain/api-keys/vault.js";
import { createApiKeyVerification } from "../../../src/domain/api-keys/verification.js";
import { generateSecret } from "../../../src/domain/identity/secret.js";
import {
  ACCOUNT,
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
  user,
} from "./fixture.js";

const PRIVATE_DATASET = "dddddddd-0000-4000-8000-000000000004";
const NOT_FOUND = { valid: false, refusal: "not_found" };

test("an accepted key stands for its account and the datasets that it lists", async () => {
  const { keys, verification } = createFixture({ datasets: [dataset({ id: PRIVATE_DATASET })] });
  const { key, token } = await keys.create(SERVICE, { datasetIds: [PRIVATE_DATASET] });
  expect(await verification.resolve(token, {})).toMatchObject({
    valid: true,
    principal: {
      type: "api_key",
      accountId: ACCOUNT,
      apiKeyId: key.id,
      datasetIds: new Set([PRIVATE_DATASET]),
    },
    expireTime: undefined,
  });
});

test("a key may be taken for the same again, each use noted, unless its uses are counted", async () => {
  const { keys, verification, uses } = createFixture();
  const { key, token } = await keys.create(SERVICE, {});
  const verdict = await verification.resolve(token, {});
  const later = new Date("2026-11-21T10:00:00.500Z");
  if (verdict.valid) verdict.reuse?.(later);
  expect(uses.at(-1)).toEqual({ apiKeyId: key.id, at: later });

  const counted = await keys.create(SERVICE, { rateLimit: { requests: 9, windowSeconds: 60 } });
  expect(await verification.resolve(counted.token, {})).toMatchObject({ valid: true, reuse: undefined });
});

test("a key that lists a private dataset opens it from its own origin and from no other", async () => {
  const { keys, verification } = createFixture({ datasets: [dataset({ id: PRIVATE_DATASET })] });
  const { key, token } = await keys.create(SERVICE, {
    datasetIds: [PRIVATE_DATASET],
    origins: ["a.com"],
  });
  const datasetId = PRIVATE_DATASET.toUpperCase();
  const own = await verification.resolve(token, { origin: "https://a.com", datasetId });
  expect(own.valid).toBe(true);
  for (const origin of ["https://evil.com", "null", undefined]) {
    expect(await verification.resolve(token, { origin, datasetId })).toEqual({
      valid: false,
      refusal: "origin",
      key: { id: key.id, accountId: ACCOUNT },
      expireTime: undefined,
    });
  }
  await keys.update(SERVICE, key.id, { datasetIds: null });
  expect(await verification.resolve(token, { origin: "https://a.com", datasetId })).toMatchObject({
    refusal: "dataset",
  });
});

describe("a token that is none", () => {
  test("is refused without a look-up when malformed, and with one when unknown", async () => {
    const { verification, store } = createFixture();
    for (const malformed of ["", "tgk_", "AIzaSy", `${generateSecret("tgk_")}0`, generateSecret("tgs_")]) {
      expect(await verification.resolve(malformed, {})).toEqual(NOT_FOUND);
    }
    expect(store.lookUps).toBe(0);
    expect(await verification.resolve(generateSecret("tgk_"), {})).toEqual(NOT_FOUND);
    expect(store.lookUps).toBe(1);
  });

  test("a deleted key is refused as if it had never been, until it is restored", async () => {
    const { keys, verification } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    await keys.delete(SERVICE, key.id);
    expect(await verification.resolve(token, {})).toEqual(NOT_FOUND);
    await keys.undelete(SERVICE, key.id);
    expect((await verification.resolve(token, {})).valid).toBe(true);
  });

  test("a row that an outdated cache finds by a token it no longer has is not taken for that token's", async () => {
    const { keys, store, options } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    await keys.rotate(SERVICE, key.id, { gracePeriodSeconds: 0 });
    const outdated = { lookUp: () => store.read(key.id) };
    const verification = createApiKeyVerification({ ...options, apiKeys: outdated });
    expect(await verification.resolve(token, {})).toEqual(NOT_FOUND);
  });
});

describe("rotation", () => {
  test("both tokens pass during the grace period, only the new one after it", async () => {
    const { keys, verification, now, passes } = createFixture();
    const { key, token: old } = await keys.create(SERVICE, {});
    const { token: current } = await keys.rotate(SERVICE, key.id, { gracePeriodSeconds: 3600 });
    const graceEnd = new Date(now().getTime() + HOUR_MS);
    passes(HOUR_MS - 1);
    expect(await verification.resolve(old, {})).toMatchObject({ valid: true, expireTime: graceEnd });
    expect(await verification.resolve(current, {})).toMatchObject({ valid: true, expireTime: undefined });
    passes(1);
    expect(await verification.resolve(old, {})).toMatchObject({ refusal: "expired", expireTime: graceEnd });
    expect((await verification.resolve(current, {})).valid).toBe(true);
  });

  test("with no grace the old token is refused at once", async () => {
    const { keys, verification } = createFixture();
    const { key, token } = await keys.create(SERVICE, {});
    await keys.rotate(SERVICE, key.id, { gracePeriodSeconds: 0 });
    expect(await verification.resolve(token, {})).toEqual(NOT_FOUND);
  });

  test("twice within the grace period leaves two tokens, never three", async () => {
    const { keys, verification } = createFixture();
    const { key, token: first } = await keys.create(SERVICE, {});
    const { token: second } = await keys.rotate(SERVICE, key.id);
    const { token: third } = await keys.rotate(SERVICE, key.id);
    const verdicts = await Promise.all(
      [first, second, third].map((token) => verification.resolve(token, {})),
    );
    expect(verdicts.map(({ valid }) => valid)).toEqual([false, true, true]);
  });

  test("grace never outlives the key's own expiry", async () => {
    const { keys, verification, now, passes } = createFixture();
    const expireTime = new Date(now().getTime() + HOUR_MS);
    const { key, token: old } = await keys.create(SERVICE, { expireTime });
    const { token: current } = await keys.rotate(SERVICE, key.id);
    passes(HOUR_MS - 1);
    expect(await verification.resolve(old, {})).toMatchObject({ valid: true, expireTime });
    passes(1);
    for (const token of [old, current]) {
      expect(await verification.resolve(token, {})).toMatchObject({ refusal: "expired" });
    }
  });

  test("of the encryption keys leaves every token valid, current and previous", async () => {
    const { options } = createFixture();
    const oldKey = randomBytes(32);
    const before = { ...options, vault: createVault([oldKey]) };
    const after = { ...options, vault: createVault([randomBytes(32), oldKey]) };
    const { key, token: previous } = await createApiKeys(before).create(SERVICE, {});
    const { token: current } = await createApiKeys(before).rotate(SERVICE, key.id);
    for (const token of [previous, current]) {
      expect((await createApiKeyVerification(after).resolve(token, {})).valid).toBe(true);
    }
    await createApiKeys(after).rotate(SERVICE, key.id);
    expect((await createApiKeyVerification(after).resolve(current, {})).valid).toBe(true);
    expect((await createApiKeyVerification(after).resolve(previous, {})).valid).toBe(false);
  });
});

describe("what a decision leaves behind", () => {
  test("no write; accepted uses go to the recorder, refused ones nowhere", async () => {
    const { keys, verification, store, uses, now } = createFixture();
    const { key, token } = await keys.create(SERVICE, { origins: ["a.com"] });
    const writes = store.writes;
    await verification.resolve(token, { origin: "https://evil.com" });
    await verification.verify(STRANGER, token, { origin: "https://a.com" });
    expect(uses).toEqual([]);
    await verification.resolve(token, { origin: "https://a.com" });
    await verification.verify(SERVICE, token, { origin: "https://a.com" });
    expect(uses).toEqual([
      { apiKeyId: key.id, at: now() },
      { apiKeyId: key.id, at: now() },
    ]);
    expect(store.writes).toBe(writes);
  });

  test("the rate limit counts accepted uses only, and tells when to come back", async () => {
    const { keys, verification, uses } = createFixture();
    const { token } = await keys.create(SERVICE, {
      origins: ["a.com"],
      rateLimit: { requests: 2, windowSeconds: 30 },
    });
    const request = { origin: "https://a.com" };
    for (let refused = 0; refused < 5; refused++) {
      await verification.resolve(token, { origin: "https://evil.com" });
      await verification.verify(STRANGER, token, request);
    }
    expect((await verification.resolve(token, request)).valid).toBe(true);
    expect((await verification.verify(SERVICE, token, request)).valid).toBe(true);
    expect(await verification.resolve(token, request)).toMatchObject({
      valid: false,
      refusal: "rate_limited",
      retryAfterSeconds: 30,
    });
    expect(uses).toHaveLength(2);
  });
});

describe("verifying for others", () => {
  test("managers see their own account's keys, the operator all; another account's is not found", async () => {
    const { keys, verification } = createFixture();
    const { token } = await keys.create(SERVICE, {});
    for (const manager of [SERVICE, user(true), OPERATOR]) {
      expect((await verification.verify(manager, token, {})).valid).toBe(true);
    }
    expect(await verification.verify(STRANGER, token, {})).toEqual(NOT_FOUND);
  });

  test("is for managers only", async () => {
    const { verification } = createFixture();
    const token = generateSecret("tgk_");
    await expect(verification.verify(ANONYMOUS, token, {})).rejects.toMatchObject({
      kind: "unauthenticated",
    });
    for (const caller of [user(false), API_KEY]) {
      await expect(verification.verify(caller, token, {})).rejects.toMatchObject({
        kind: "permission_denied",
      });
    }
  });

  test("answers with the refusal, the key and its expiry", async () => {
    const { keys, verification, now, passes } = createFixture();
    const expireTime = new Date(now().getTime() + DAY_MS);
    const { key, token } = await keys.create(SERVICE, { enabled: false, expireTime });
    const refused = { valid: false, key: { id: key.id, accountId: ACCOUNT }, expireTime };
    expect(await verification.verify(SERVICE, token, {})).toEqual({ ...refused, refusal: "disabled" });
    await keys.update(SERVICE, key.id, { enabled: true });
    passes(DAY_MS);
    expect(await verification.verify(SERVICE, token, {})).toEqual({ ...refused, refusal: "expired" });
  });
});

describe("a dataset that the request asks for", () => {
  const FOREIGN = dataset({ id: PRIVATE_DATASET, accountId: OTHER_ACCOUNT });

  test("is unavailable, not refused, when nothing can be told of it now", async () => {
    const { keys, options } = createFixture();
    const { token } = await keys.create(SERVICE, {});
    const datasets = { lookUp: async (ids: readonly string[]) => new Map(ids.map((id) => [id, null])) };
    const verification = createApiKeyVerification({ ...options, datasets });
    await expect(verification.resolve(token, { datasetId: PRIVATE_DATASET })).rejects.toMatchObject({
      kind: "unavailable",
      retryAfterSeconds: 1,
    });
  });

  test("is looked up as one that isn't there, if the key may not know of it", async () => {
    const { keys, options } = createFixture();
    const { token } = await keys.create(SERVICE, {});
    const own = dataset({ id: PRIVATE_DATASET });
    const known: boolean[] = [];
    const lookUp: typeof options.datasets.lookUp = async (_ids, mayKnow) => {
      known.push(mayKnow(FOREIGN), mayKnow({ ...own, status: "draft" }), mayKnow(own));
      return new Map();
    };
    const verification = createApiKeyVerification({ ...options, datasets: { lookUp } });
    const request = { datasetId: PRIVATE_DATASET };
    expect(await verification.resolve(token, request)).toMatchObject({ refusal: "dataset" });
    expect(known).toEqual([false, false, true]);
  });
});
