import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readCredentials } from "../../src/front/credentials.js";

/** Of its list of fields, from its text: what a reader sees there must be read. */
const headers = [
  ...readFileSync("src/front/credentials.ts", "utf8").matchAll(
    /\{ header: "([^"]+)",[^}]* isCredential: (\w+)/g,
  ),
].map(([, name = "", isCredential]) => ({ name, isCredential: isCredential === "true" }));

const readAt = (address: string | undefined, ...rawHeaders: string[]) =>
  readCredentials({ rawHeaders }, new URLSearchParams(), () => address);

const read = (...rawHeaders: string[]) => readAt("192.0.2.7", ...rawHeaders);

test("every header that says who calls is read, so that no credential is taken for none", () => {
  expect(headers.length).toBeGreaterThan(2);
  for (const { name, isCredential } of headers) {
    const { key, isAnonymous, ...sent } = read(name.toUpperCase(), "what was sent");
    expect([name, isAnonymous]).toEqual([name, !isCredential]);
    expect(key).not.toBe(read().key);
    expect(JSON.stringify(sent)).toContain("what was sent");
  }
});

test("an API key is remembered for the address that it came from, and an unknown one is no address", () => {
  const sent = ["X-Api-Key", "tgk_x"];
  const keys = ["192.0.2.7", "192.0.2.8", undefined, "", "-"].map((address) => readAt(address, ...sent).key);
  expect(new Set(keys).size).toBe(keys.length);
  expect(readAt("192.0.2.7", ...sent).source.clientIp).toBe("192.0.2.7");
});

test("an address counts as no credential, and is not asked for without an API key", () => {
  const neverAsked = () => {
    throw new Error("asked");
  };
  const rawHeaders = ["Authorization", "Bearer x", "X-Forwarded-For", "192.0.2.7"];
  readCredentials({ rawHeaders }, new URLSearchParams(), neverAsked);
  expect(read().isAnonymous).toBe(true);
});

test("a key in the query is remembered by address too", () => {
  const query = new URLSearchParams({ key: "tgk_x" });
  const keyAt = (address: string) => readCredentials({ rawHeaders: [] }, query, () => address).key;
  expect(keyAt("192.0.2.7")).not.toBe(keyAt("192.0.2.8"));
});
