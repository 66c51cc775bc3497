import { describe, expect, test } from "vitest";
import { canonicalIp, createIpRanges, isIpRange } from "../../src/domain/ip-ranges.js";

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["2001:DB8:0::1", "2001:db8::1"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["::FFFF:c000:0207", "192.0.2.7"],
  ["0:0:0:0:0:ffff:0.0.0.1", "0.0.0.1"],
  // Not a mapped one.
  ["::192.0.2.7", "::c000:207"],
])("%s is known as %s", (text, canonical) => {
  expect(canonicalIp(text)).toBe(canonical);
});

test.each(["", "192.0.2", "192.0.2.007", "192.0.2.7 ", "fe80::1%eth0", "[::1]", "localhost", "1.2.3.4:80"])(
  "%j is no address",
  (text) => expect(canonicalIp(text)).toBeUndefined(),
);

test.each(["192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "::/0", "2001:db8::/32", "::ffff:10.0.0.0/104"])(
  "%s is a range",
  (text) => expect(isIpRange(text)).toBe(true),
);

test.each([
  "10.0.0.0/33",
  "10.0.0.0/",
  "10.0.0.0/08",
  "10.0.0.0/8/8",
  "::/129",
  "::ffff:10.0.0.0/95",
  "/8",
  "10/8",
])("%j is no range", (text) => expect(isIpRange(text)).toBe(false));

describe("a set of ranges", () => {
  const ranges = createIpRanges(["10.1.2.3/8", "192.0.2.7", "2001:db8::/32", "::ffff:172.16.0.0/108"]);

  test.each(["10.255.0.1", "192.0.2.7", "2001:db8:ffff::1", "172.16.0.1"])("has %s", (address) =>
    expect(ranges.has(address)).toBe(true),
  );

  test.each(["11.0.0.1", "192.0.2.8", "2001:db9::1", "172.32.0.1", "::a01:203"])("hasn't %s", (address) =>
    expect(ranges.has(address)).toBe(false),
  );
});

test("no range has nothing", () => {
  expect(createIpRanges([]).has("127.0.0.1")).toBe(false);
});
