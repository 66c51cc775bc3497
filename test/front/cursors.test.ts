import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Listing } from "../../src/domain/page.js";
import { createCursors } from "../../src/front/cursors.js";

const ACCOUNT = "aaaaaaaa-0000-4000-8000-000000000001";
const OTHER_ACCOUNT = "bbbbbbbb-0000-4000-8000-000000000002";
const KEYS: Listing = { of: "api_keys", accountId: ACCOUNT };

const ring = [randomBytes(32)];
const cursors = createCursors(ring);
const position = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const listing: fc.Arbitrary<Listing> = fc.record({
  of: fc.constantFrom("accounts", "service_tokens", "datasets", "api_keys"),
  accountId: fc.constantFrom(undefined, ACCOUNT, OTHER_ACCOUNT),
});

const malformed = expect.objectContaining({
  kind: "invalid_argument",
  field: "cursor",
  message: "cursor: is malformed",
});

function expectRefused(cursor: string, of = KEYS, by = cursors): void {
  expect(() => by.open(cursor, of)).toThrow(malformed);
}

/** A cursor of position 7 in which the character occurs, as it does in every second one. */
function sealedWith(character: "+" | "/"): string {
  for (let tries = 0; tries < 1_000; tries++) {
    const cursor = cursors.seal(7n, KEYS);
    if (cursor.includes(character)) return cursor;
  }
  throw new Error(`no cursor has ${character}`);
}

test("any position of any listing comes back, as standard base64 that fits a request's limit of 200", () => {
  fc.assert(
    fc.property(position, listing, (at, of) => {
      const cursor = cursors.seal(at, of);
      expect(cursor).toMatch(/^[A-Za-z0-9+/]{48}$/);
      expect(cursors.open(cursor, of)).toBe(at);
    }),
  );
});

test("a client that put one into a URL without encoding it, and so sent blanks for pluses, is understood", () => {
  const cursor = sealedWith("+");
  expect(cursors.open(cursor.replaceAll("+", " "), KEYS)).toBe(7n);
});

test("forging: with any bit flipped, anything cut off or added, or another spelling, a cursor is refused", () => {
  fc.assert(
    fc.property(position, listing, fc.nat({ max: 36 * 8 - 1 }), (at, of, bit) => {
      const cursor = cursors.seal(at, of);
      const bytes = Buffer.from(cursor, "base64");
      expectRefused(cursor.slice(0, -1), of);
      expectRefused(cursor.slice(4), of);
      expectRefused(`${cursor}AAAA`, of);
      expectRefused(`${cursor}=`, of);
      expectRefused(`${cursor}\n`, of);
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expectRefused(bytes.toString("base64"), of);
    }),
  );
  expectRefused(sealedWith("/").replaceAll("/", "_"));
});

test("forging: no text is a cursor, and none does more than be refused", () => {
  const bytes = fc.uint8Array({ minLength: 0, maxLength: 60 }).map((each) => Buffer.from(each));
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    bytes.map((each) => each.toString("base64")),
  );
  fc.assert(fc.property(text, (cursor) => expectRefused(cursor)));
});

test("the readable cursors of before, which were positions in base64, are refused", () => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(7n);
  expectRefused(bytes.toString("base64"));
});

test("spying: a cursor tells nothing of its position, not even whether it is another one's", () => {
  const sealed = Array.from({ length: 200 }, () => cursors.seal(1n, KEYS));
  expect(new Set(sealed).size).toBe(200);
  // Of 36 bytes that are random, none is the same in all of 200.
  const bytes = sealed.map((cursor) => Buffer.from(cursor, "base64"));
  for (let at = 0; at < 36; at++) expect(new Set(bytes.map((each) => each[at])).size).toBeGreaterThan(50);
});

test("one account's cursor, or one list's, leads on in no other", () => {
  fc.assert(
    fc.property(position, listing, listing, (at, from, to) => {
      fc.pre(from.of !== to.of || from.accountId !== to.accountId);
      expectRefused(cursors.seal(at, from), to);
    }),
  );
});

describe("while encryption keys are replaced", () => {
  const added = randomBytes(32);

  test("replicas understand each other's cursors at every step, and walks go on over a restart", () => {
    const [during, after] = [createCursors([...ring, added]), createCursors([added, ...ring])];
    for (const sealing of [cursors, during]) {
      for (const opening of [cursors, during, after]) {
        expect(opening.open(sealing.seal(7n, KEYS), KEYS)).toBe(7n);
      }
    }
    for (const opening of [during, after]) expect(opening.open(after.seal(7n, KEYS), KEYS)).toBe(7n);
  });

  test("a key that was taken out opens none of its cursors any more", () => {
    expectRefused(cursors.seal(7n, KEYS), KEYS, createCursors([added]));
  });
});

test("without an encryption key there are no cursors", () => {
  expect(() => createCursors([])).toThrow("encryption key");
});
