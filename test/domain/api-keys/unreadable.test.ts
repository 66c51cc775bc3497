import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { ApiKey } from "../../../src/domain/api-keys/api-key.js";
import { createApiKeys } from "../../../src/domain/api-keys/api-keys.js";
import { createVault, type VaultError } from "../../../src/domain/api-keys/vault.js";
import { createFixture, HOUR_MS, SERVICE } from "./fixture.js";

const PAGE = { limit: 50 };

/** The use cases, and what they report. */
function createDamageable() {
  const fixture = createFixture();
  const reports: string[][] = [];
  const onUnreadable = (errors: readonly VaultError[]) => void reports.push(errors.map(String));
  const keys = createApiKeys({ ...fixture.options, onUnreadable });
  /** Writes to a row behind the service's back. */
  async function damage(id: string, change: (key: ApiKey) => Partial<ApiKey>): Promise<void> {
    const key = await fixture.store.read(id);
    if (key === undefined) throw new Error("no such key");
    await fixture.store.replace({ ...key, ...change(key) }, key);
  }
  return { ...fixture, keys, reports, damage };
}

const flipped = (bytes: Uint8Array, at: number) =>
  bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));

test("any flipped byte of a ciphertext leaves a key without a token, and its neighbours as they are", async () => {
  const { keys, store, damage } = createDamageable();
  const [first, broken, last] = [
    await keys.create(SERVICE, {}),
    await keys.create(SERVICE, {}),
    await keys.create(SERVICE, {}),
  ];
  const { current } = (await store.read(broken.key.id)) ?? broken.key;
  expect(current.ciphertext.length).toBe(74);
  for (let at = 0; at < current.ciphertext.length; at++) {
    const ciphertext = flipped(current.ciphertext, at);
    await damage(broken.key.id, () => ({ current: { ...current, ciphertext } }));
    const { items, totalCount } = await keys.list(SERVICE, PAGE);
    expect(items.map(({ token }) => token)).toEqual([last.token, undefined, first.token]);
    expect(totalCount).toBe(3);
    expect((await keys.get(SERVICE, broken.key.id)).token).toBeUndefined();
  }
});

test.each([
  ["empty", () => new Uint8Array()],
  ["cut off within the nonce", (bytes: Uint8Array) => bytes.slice(0, 12)],
  ["cut off within the tag", (bytes: Uint8Array) => bytes.slice(0, -1)],
  ["too long", (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.of(0)])],
])("a ciphertext that is %s leaves a key without a token", async (_, damaged) => {
  const { keys, damage } = createDamageable();
  const { key } = await keys.create(SERVICE, {});
  await damage(key.id, ({ current }) => ({
    current: { ...current, ciphertext: damaged(current.ciphertext) },
  }));
  expect(await keys.get(SERVICE, key.id)).toMatchObject({ key: { id: key.id }, token: undefined });
});

test("another key's ciphertext, valid there, shows no token here: who can write rows can't read tokens", async () => {
  const { keys, damage } = createDamageable();
  const [victim, own] = [await keys.create(SERVICE, {}), await keys.create(SERVICE, {})];
  await damage(own.key.id, ({ current }) => ({
    current: { ...current, ciphertext: victim.key.current.ciphertext },
  }));
  const { items } = await keys.list(SERVICE, PAGE);
  expect(items.map(({ token }) => token)).toEqual([undefined, victim.token]);
});

test("when the encryption key is lost, all keys are listed without tokens, and reported once", async () => {
  const { keys, options, reports } = createDamageable();
  const created = [await keys.create(SERVICE, {}), await keys.create(SERVICE, {})];
  const reported: (readonly VaultError[])[] = [];
  const lost = createApiKeys({
    ...options,
    vault: createVault([randomBytes(32)]),
    onUnreadable: (errors) => void reported.push(errors),
  });
  expect((await lost.list(SERVICE, PAGE)).items.map(({ token }) => token)).toEqual([undefined, undefined]);
  expect(reported).toHaveLength(1);
  for (const { key } of created) expect(reported.join()).toContain(key.id);
  expect(reported.join()).toContain("ENCRYPTION_KEYS");
  for (const { token } of created) expect(reported.join()).not.toContain(token.slice(4, 12));
  await keys.list(SERVICE, PAGE);
  expect(reports).toEqual([]);
});

test("a key without a readable token can be changed, deleted and restored", async () => {
  const { keys, damage, now } = createDamageable();
  const { key } = await keys.create(SERVICE, {});
  await damage(key.id, ({ current }) => ({ current: { ...current, ciphertext: new Uint8Array(74) } }));
  const token = undefined;
  expect(await keys.update(SERVICE, key.id, { name: "x" })).toMatchObject({ key: { name: "x" }, token });
  expect(await keys.delete(SERVICE, key.id)).toMatchObject({ key: { deleted: now() }, token });
  expect(await keys.undelete(SERVICE, key.id)).toMatchObject({ key: { deleted: undefined }, token });
  expect(await keys.undelete(SERVICE, key.id)).toMatchObject({ key: { deleted: undefined }, token });
});

test("the token that can't be read works on where the key is used, since it is known by its hash", async () => {
  const { keys, damage, verification } = createDamageable();
  const { key, token } = await keys.create(SERVICE, { origins: ["maps.example.com"] });
  await damage(key.id, ({ current }) => ({ current: { ...current, ciphertext: new Uint8Array(74) } }));
  const request = { origin: "https://maps.example.com" };
  expect(await verification.resolve(token, request)).toMatchObject({ valid: true });
  expect(await verification.resolve(token, {})).toMatchObject({ refusal: "origin" });
});

test("rotation replaces a token that can't be read, at once, whatever the grace period", async () => {
  const { keys, damage, verification, reports } = createDamageable();
  const { key, token: old } = await keys.create(SERVICE, {});
  await damage(key.id, ({ current }) => ({ current: { ...current, ciphertext: new Uint8Array(74) } }));
  const rotated = await keys.rotate(SERVICE, key.id, { gracePeriodSeconds: 3600 });
  expect(rotated.key.previous).toBeUndefined();
  expect(reports).toEqual([[expect.stringContaining(key.id)]]);
  expect((await keys.get(SERVICE, key.id)).token).toBe(rotated.token);
  expect(await verification.resolve(rotated.token, {})).toMatchObject({ valid: true });
  expect(await verification.resolve(old, {})).toMatchObject({ refusal: "not_found" });
});

test("a previous token that can't be read lives out its grace, and hinders nothing", async () => {
  const { keys, damage, verification, passes } = createDamageable();
  const { key, token: first } = await keys.create(SERVICE, {});
  const second = await keys.rotate(SERVICE, key.id, { gracePeriodSeconds: 3600 });
  await damage(key.id, ({ previous }) => ({
    previous: previous && { ...previous, ciphertext: new Uint8Array() },
  }));
  expect((await keys.list(SERVICE, PAGE)).items[0]?.token).toBe(second.token);
  await keys.update(SERVICE, key.id, { name: "x" });
  expect(await verification.resolve(first, {})).toMatchObject({ valid: true });
  passes(HOUR_MS);
  expect(await verification.resolve(first, {})).toMatchObject({ refusal: "expired" });
  const third = await keys.rotate(SERVICE, key.id);
  expect(await verification.resolve(second.token, {})).toMatchObject({ valid: true });
  expect(await verification.resolve(third.token, {})).toMatchObject({ valid: true });
});

test("a failure that is not the ciphertext's is no key without a token", async () => {
  const { keys, options } = createDamageable();
  const { key } = await keys.create(SERVICE, {});
  const open = () => {
    throw new TypeError("a defect");
  };
  const defective = createApiKeys({ ...options, vault: { ...options.vault, open } });
  await expect(defective.get(SERVICE, key.id)).rejects.toThrow(TypeError);
  await expect(defective.list(SERVICE, PAGE)).rejects.toThrow(TypeError);
  await expect(defective.rotate(SERVICE, key.id)).rejects.toThrow(TypeError);
});
