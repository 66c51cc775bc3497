import { createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createVault, type TokenPlace, VaultError } from "../../../src/domain/api-keys/vault.js";
import { generateSecret } from "../../../src/domain/identity/secret.js";

const oldKey = randomBytes(32);
const newKey = randomBytes(32);
const place: TokenPlace = { apiKeyId: "aaaaaaaa-0000-4000-8000-000000000001", role: "current" };
const token = generateSecret("tgk_");

test("what is sealed opens in its place", () => {
  const vault = createVault([oldKey]);
  expect(vault.open(vault.seal(token, place), place)).toBe(token);
});

test("a ciphertext swapped between two rows, or between the tokens of a row, does not open", () => {
  const vault = createVault([oldKey]);
  const sealed = vault.seal(token, place);
  const otherRow = { ...place, apiKeyId: "bbbbbbbb-0000-4000-8000-000000000002" };
  expect(() => vault.open(sealed, otherRow)).toThrow(VaultError);
  expect(() => vault.open(sealed, { ...place, role: "previous" })).toThrow(VaultError);
});

test("a ciphertext with any byte changed, or cut to any length, does not open", () => {
  const vault = createVault([oldKey]);
  const { ciphertext, lookupHash } = vault.seal(token, place);
  for (let at = 0; at < ciphertext.length; at++) {
    const tampered = Buffer.from(ciphertext);
    tampered[at] = (tampered[at] ?? 0) ^ 1;
    expect(() => vault.open({ lookupHash, ciphertext: tampered }, place)).toThrow(VaultError);
    const cut = ciphertext.subarray(0, at);
    expect(() => vault.open({ lookupHash, ciphertext: cut }, place)).toThrow(VaultError);
  }
});

test("an error names the row and never the token", () => {
  const sealed = createVault([oldKey]).seal(token, place);
  expect(() => createVault([newKey]).open(sealed, place)).toThrow(
    `the current token of API key ${place.apiKeyId} is encrypted under a key that is not in ENCRYPTION_KEYS`,
  );
});

test("neither ciphertext nor hash holds the token, and the same token never encrypts alike", () => {
  const vault = createVault([oldKey]);
  const [first, second] = [vault.seal(token, place), vault.seal(token, place)];
  for (const bytes of [first.ciphertext, first.lookupHash]) {
    expect(Buffer.from(bytes).toString("latin1")).not.toContain(token.slice(4, 12));
  }
  expect(first.ciphertext).not.toEqual(second.ciphertext);
  expect(first.lookupHash).toEqual(second.lookupHash);
});

test("while keys are rotated, what either sealed is opened and found, and what is old is told", () => {
  const before = createVault([oldKey]);
  const after = createVault([newKey, oldKey]);
  const sealed = before.seal(token, place);
  expect(after.open(sealed, place)).toBe(token);
  expect(after.lookupHashes(token)).toContainEqual(sealed.lookupHash);
  expect(after.needsReencryption(sealed)).toBe(true);

  const resealed = after.seal(token, place);
  expect(after.needsReencryption(resealed)).toBe(false);
  expect(after.lookupHashes(token)[0]).toEqual(resealed.lookupHash);
  expect(createVault([newKey]).open(resealed, place)).toBe(token);
  expect(before.lookupHashes(token)).not.toContainEqual(resealed.lookupHash);
});

test("the stored bytes are those that the documentation describes", () => {
  const { ciphertext, lookupHash } = createVault([oldKey]).seal(token, place);
  const derive = (label: string, length: number) =>
    Buffer.from(hkdfSync("sha256", oldKey, "", `tilegate api key ${label} v1`, length));
  const bytes = Buffer.from(ciphertext);
  expect(bytes).toHaveLength(74);
  expect(bytes[0]).toBe(1);
  expect(bytes.subarray(1, 9)).toEqual(derive("fingerprint", 8));
  const decipher = createDecipheriv("aes-256-gcm", derive("encryption", 32), bytes.subarray(9, 21));
  decipher.setAAD(Buffer.concat([bytes.subarray(0, 9), Buffer.from(`current:${place.apiKeyId}`)]));
  decipher.setAuthTag(bytes.subarray(58));
  expect(decipher.update(bytes.subarray(21, 58), undefined, "utf8") + decipher.final("utf8")).toBe(token);
  expect(Buffer.from(lookupHash)).toEqual(createHmac("sha256", derive("look-up", 32)).update(token).digest());
});

test("a ring without a key, or with one of another length, is refused", () => {
  expect(() => createVault([])).toThrow("needs an encryption key");
  expect(() => createVault([oldKey, randomBytes(16)])).toThrow("32 bytes");
});
