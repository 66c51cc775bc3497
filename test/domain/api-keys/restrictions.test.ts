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
  allowedIps: [],
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
    allowedIps: ["192.0.2.7"],
  });
  const repairs: readonly [string, Partial<ApiKey>][] = [
    ["not_found", { deleted: undefined }],
    ["disabled", { enabled: true }],
    ["expired", { expireTime: undefined }],
    ["origin", { origins: ["evil.com"] }],
    ["user_agent", { userAgent: "curl" }],
    ["ip", { allowedIps: [] }],
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

describe("client address", () => {
  const allowedIps = ["192.0.2.7", "10.1.2.3/8", "2001:db8::/32", "::ffff:172.16.0.0/108"];
  test.each([
    ["the address that is listed", "192.0.2.7", undefined],
    ["another", "192.0.2.8", "ip"],
    ["one of a range that is written with another of its addresses", "10.255.0.1", undefined],
    ["one beyond it", "11.0.0.1", "ip"],
    ["a listed IPv4 address in the form of IPv6", "::ffff:192.0.2.7", undefined],
    ["the same in hexadecimal", "::FFFF:c000:207", undefined],
    ["another IPv4 address in the form of IPv6", "::ffff:192.0.2.8", "ip"],
    ["an IPv6 address of 32 bits that are the IPv4 one's", "::192.0.2.7", "ip"],
    ["one of an IPv6 range, in another form", "2001:0DB8:0::1", undefined],
    ["one beyond it", "2001:db9::1", "ip"],
    ["one of an IPv4 range that is written in the form of IPv6", "172.31.255.255", undefined],
    ["one beyond it", "172.32.0.0", "ip"],
    ["none", undefined, "ip"],
    ["an empty one", "", "ip"],
    ["what is no address", "192.0.2.7, 192.0.2.8", "ip"],
    ["an address with its port", "192.0.2.7:80", "ip"],
    ["an address with a zone", "2001:db8::1%eth0", "ip"],
  ])("%s", (_, clientIp, expected) => {
    expect(findRefusal(key({ allowedIps }), "current", { clientIp }, now)).toBe(expected);
  });

  test("a range of all addresses still asks for one", () => {
    const anywhere = key({ allowedIps: ["0.0.0.0/0", "::/0"] });
    for (const clientIp of ["203.0.113.9", "2001:db8::1"])
      expect(findRefusal(anywhere, "current", { clientIp }, now)).toBeUndefined();
    expect(findRefusal(anywhere, "current", {}, now)).toBe("ip");
  });

  test("a key whose stored ranges no longer parse stays locked", () => {
    const broken = key({ allowedIps: ["10.0.0.0/99"] });
    expect(findRefusal(broken, "current", { clientIp: "10.0.0.1" }, now)).toBe("ip");
  });

  test("a key without ranges doesn't ask whose address it is", () => {
    expect(findRefusal(key(), "current", { clientIp: "nobody's" }, now)).toBeUndefined();
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
