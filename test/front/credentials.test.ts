import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readCredentials } from "../../src/front/credentials.js";

/** Of its list of fields, from its text: what a reader sees there must be read. */
const headers = [
  ...readFileSync("src/front/credentials.ts", "utf8").matchAll(
    /\{ header: "([^"]+)",[^}]* isCredential: (\w+)/g,
  ),
].map(([, name = "", isCredential]) => ({ name, isCredential: isCredential === "true" }));

const read = (...rawHeaders: string[]) =>
  readCredentials({ rawHeaders } as Parameters<typeof readCredentials>[0], new URLSearchParams());

test("every header that says who calls is read, so that no credential is taken for none", () => {
  expect(headers.length).toBeGreaterThan(2);
  for (const { name, isCredential } of headers) {
    const { key, isAnonymous, ...sent } = read(name.toUpperCase(), "what was sent");
    expect([name, isAnonymous]).toEqual([name, !isCredential]);
    expect(key).not.toBe(read().key);
    expect(JSON.stringify(sent)).toContain("what was sent");
  }
});
