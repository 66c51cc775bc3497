import { describe, expect, test } from "vitest";
import type { ApiKey } from "../../../src/domain/api-keys/api-key.js";
import { expiryOf, findRefusal } from "../../../src/domain/api-keys/restrictions.js";
import { ACCOUNT, dataset, HOUR_MS, OTHER_ACCOUNT, UNKNOWN_ID } from "./fixture.js";

const now = new Date("2026-11-21T10:00:00Z");
const later = (milliseconds: number) => new Date(now.getTime() + milliseconds);
const sealed = { lookupHash: new Uint8Array(32), ciphertext: new Uint8Array(74) };
const LISTED = "dddddddd-0000-4000-8000-000000000004";

const key = (change: Partial<ApiKey> = {}): ApiKey => ({
  id: UNKNOWN_ID,
  accountId: ACCOUNT,
  name: "Test",
  description: "",
  userAgent: "",
  origins: [],
  enabled: true,
  datasetIds: [],
  current: sealed,
  created: now,
  changed: now,
  revision: 1,
  ...change,
});

test("a key without restrictions may be used by any request", () => {
  expect(findRefusal(key(), "current", {}, now)).toBeUndefined();
});

test("of several reasons the first in the documented order is the answer", () => {
  const request = { origin: "https://evil.com", userAgent: "curl", dataset: "not_found" } as const;
  let worst = key({
    deleted: now,
    enabled: false,
    expireTime: now,
    origins: ["a.com"],
    userAgent: "App/1",
  });
  const repairs: readonly [string, Partial<ApiKey>][] = [
    ["not_found", { deleted: undefined }],
    ["disabled", { enabled: true }],
    ["expired", { expireTime: undefined }],
    ["origin", { origins: ["evil.com"] }],
    ["user_agent", { userAgent: "curl" }],
  ];
  for (const [refusal, repair] of repairs) {
    expect(findRefusal(worst, "current", request, now)).toBe(refusal);
    worst = { ...worst, ...repair };
  }
  expect(findRefusal(worst, "current", request, now)).toBe("dataset");
  expect(findRefusal(worst, "current", { ...request, dataset: undefined }, now)).toBeUndefined();
});

describe("expiry", () => {
  test("a key works until its expiry, and not at it", () => {
    const expiring = key({ expireTime: now });
    expect(findRefusal(expiring, "current", {}, later(-1))).toBeUndefined();
    expect(findRefusal(expiring, "current", {}, now)).toBe("expired");
  });

  test("a previous token works until its grace period ends, the current one goes on", () => {
    const rotated = key({ previous: { ...sealed, expireTime: now } });
    expect(findRefusal(rotated, "previous", {}, later(-1))).toBeUndefined();
    expect(findRefusal(rotated, "previous", {}, now)).toBe("expired");
    expect(findRefusal(rotated, "current", {}, now)).toBeUndefined();
  });

  test("a previous token never outlives its key, whatever the row says", () => {
    const rotated = key({ expireTime: now, previous: { ...sealed, expireTime: later(HOUR_MS) } });
    expect(findRefusal(rotated, "previous", {}, now)).toBe("expired");
    expect(expiryOf(rotated, "previous")).toEqual(now);
  });
});

describe("user agent", () => {
  test.each([
    ["a part of what is sent", "MyApp/1", "Mozilla/5.0 MyApp/1.2", undefined],
    ["another letter case", "MyApp", "myapp/1.2", "user_agent"],
    ["another program", "MyApp", "curl/8", "user_agent"],
    ["no user agent", "MyApp", undefined, "user_agent"],
    ["no user agent where none is asked for", "", undefined, undefined],
    ["a pattern is text, not an expression", "My.pp", "MyApp", "user_agent"],
  ])("%s", (_, userAgent, sent, expected) => {
    expect(findRefusal(key({ userAgent }), "current", { userAgent: sent }, now)).toBe(expected);
  });
});

describe("dataset", () => {
  const lists = key({ datasetIds: [LISTED] });
  test.each([
    ["a listed private one", dataset({ id: LISTED }), undefined],
    ["a listed restricted one", dataset({ id: LISTED, visibility: "restricted" }), undefined],
    ["a listed draft", dataset({ id: LISTED, status: "draft" }), "dataset"],
    ["a listed one that is another account's", dataset({ id: LISTED, accountId: OTHER_ACCOUNT }), "dataset"],
    ["an unlisted private one", dataset({ id: UNKNOWN_ID }), "dataset"],
    ["an unlisted public one", dataset({ id: UNKNOWN_ID, visibility: "public" }), undefined],
    [
      "an unlisted public draft",
      dataset({ id: UNKNOWN_ID, visibility: "public", status: "draft" }),
      "dataset",
    ],
    [
      "a public one of another account",
      dataset({ id: UNKNOWN_ID, visibility: "public", accountId: OTHER_ACCOUNT }),
      undefined,
    ],
    ["one that does not exist", "not_found" as const, "dataset"],
  ])("%s", (_, asked, expected) => {
    expect(findRefusal(lists, "current", { dataset: asked }, now)).toBe(expected);
  });
});
