import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { generateSecret, hashSecret, isWellFormedSecret } from "../../../src/domain/identity/secret.js";

const documentation = readFileSync(new URL("../../../docs/key-format.md", import.meta.url), "utf8");
const example = (name: string) => new RegExp(`^${name} +(\\S+)$`, "m").exec(documentation)?.[1] ?? "";
const scannerPattern = /```regex\n(.+)\n```/.exec(documentation)?.[1] ?? "";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const fromBase62 = (text: string) =>
  [...text].reduce((value, digit) => value * 62n + BigInt(DIGITS.indexOf(digit)), 0n);

describe("the documented example", () => {
  test("is a well-formed key", () => {
    expect(isWellFormedSecret("tgk_", example("key"))).toBe(true);
  });

  test("is made of the parts that are given", () => {
    expect(example("key")).toBe(`tgk_${example("body")}${example("checksum")}`);
    expect(fromBase62(example("body"))).toBe(BigInt(`0x${example("random bytes")}`));
    expect(crc32(`tgk_${example("body")}`).toString(16)).toBe(example("crc-32"));
    expect(fromBase62(example("checksum"))).toBe(BigInt(`0x${example("crc-32")}`));
  });
});

describe("a generated secret", () => {
  test.each(["tgk_", "tgs_"] as const)("with prefix %s is well formed, for its own prefix only", (prefix) => {
    const secret = generateSecret(prefix);
    expect(isWellFormedSecret(prefix, secret)).toBe(true);
    expect(isWellFormedSecret(prefix === "tgk_" ? "tgs_" : "tgk_", secret)).toBe(false);
  });

  test("carries 160 bits, each of which varies", () => {
    let ones = 0n;
    let zeros = 0n;
    for (let count = 0; count < 200; count++) {
      const random = fromBase62(generateSecret("tgk_").slice(4, 31));
      ones |= random;
      zeros |= ~random;
    }
    const all = (1n << 160n) - 1n;
    expect(ones).toBe(all);
    expect(zeros & all).toBe(all);
  });

  test("is found by the documented scanner pattern in a source text, whole", () => {
    const secrets = [generateSecret("tgk_"), generateSecret("tgs_")];
    const source = `const key = "${secrets[0]}"; // ${secrets[1]}, and not tgk_example`;
    expect(source.match(new RegExp(scannerPattern, "g"))).toEqual(secrets);
  });
});

describe("a text that was never issued", () => {
  test("is malformed if any one character of a secret is changed", () => {
    const secret = generateSecret("tgk_");
    fc.assert(
      fc.property(fc.nat(secret.length - 1), fc.constantFrom(...DIGITS, "_", "-", " "), (at, character) => {
        fc.pre(secret[at] !== character);
        expect(isWellFormedSecret("tgk_", secret.slice(0, at) + character + secret.slice(at + 1))).toBe(
          false,
        );
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    ["the empty text", ""],
    ["the prefix alone", "tgk_"],
    ["a secret with a line break after it", `${example("key")}\n`],
    ["a secret with a blank before it", ` ${example("key")}`],
    ["a secret cut short", example("key").slice(0, -1)],
    ["a secret with a character more", `${example("key")}0`],
    ["100,000 characters", `tgk_${"0".repeat(100_000)}`],
  ])("is malformed: %s", (_, text) => {
    expect(isWellFormedSecret("tgk_", text)).toBe(false);
  });
});

test("stores SHA-256 of a secret", () => {
  const secret = generateSecret("tgs_");
  expect(Buffer.from(hashSecret(secret)).toString("hex")).toBe(
    createHash("sha256").update(secret, "utf8").digest("hex"),
  );
});
