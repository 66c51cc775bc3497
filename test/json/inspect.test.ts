import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { inspectJson, type JsonLimits, type JsonShape } from "../../src/json/inspect.js";

const limits: JsonLimits = {
  maxValues: 50,
  maxDepth: 5,
  maxItems: 10,
  maxMembers: 8,
  maxTextBytes: 1_000,
  maxBlanks: 100,
};
const shape: JsonShape = {
  member: (name) => (name === "ids" ? { maxItems: 3, member: () => undefined } : undefined),
};

const inspect = (text: string) => inspectJson(Buffer.from(text), limits, shape);

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

function countOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce<number>((count, member) => count + countOf(member), 1);
}

function largest(value: unknown, kind: "array" | "object"): number {
  if (typeof value !== "object" || value === null) return 0;
  const own = Array.isArray(value) === (kind === "array") ? Object.keys(value).length : 0;
  return Math.max(own, ...Object.values(value).map((member) => largest(member, kind)));
}

test("any JSON is passed if and only if its counts are within the limits", () => {
  let refused = 0;
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 7, depthSize: "large", stringUnit: "binary" }),
      fc.constantFrom(undefined, 1, "\t"),
      (json, indent) => {
        const value: unknown = JSON.parse(json);
        const withinLimits =
          countOf(value) <= limits.maxValues &&
          depthOf(value) <= limits.maxDepth &&
          largest(value, "array") <= limits.maxItems &&
          largest(value, "object") <= limits.maxMembers;
        if (!withinLimits) refused += 1;
        const problem = inspectJson(Buffer.from(JSON.stringify(value, undefined, indent)), limits);
        expect(problem === undefined).toBe(withinLimits);
      },
    ),
    { numRuns: 2_000 },
  );
  expect(refused).toBeGreaterThan(20);
});

test("anything that is no JSON is left to the parser, without an exception", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[[\]{}",:\\a0 ]{0,40}$/)), (text) => {
      expect(["undefined", "object"]).toContain(typeof inspect(text));
    }),
    { numRuns: 2_000 },
  );
});

describe("what is above a limit is named by its place", () => {
  test.each([
    ['{"ids":[1,2,3,4]}', { kind: "items", path: ["ids"], max: 3 }],
    ['{"a":{"ids":[1,2,3,4,5,6,7,8,9,10,11]}}', { kind: "items", path: ["a", "ids"], max: 10 }],
    ['{"a":[[[[[1]]]]]}', { kind: "depth", path: ["a", 0, 0, 0, 0] }],
    [`{${Array.from({ length: 9 }, (_, index) => `"${index}":0`)}}`, { kind: "members", path: [] }],
    [`{"a":["${"x".repeat(1_001)}"]}`, { kind: "text", path: ["a", 0] }],
    [`{"a":[${" ".repeat(101)}1]}`, { kind: "blanks", path: ["a"] }],
    [`[${Array(6).fill("[1,2,3,4,5,6,7,8,9]")}]`, { kind: "values", path: [4, 8] }],
  ])("%s", (text, problem) => {
    expect(inspect(text)).toEqual(problem);
  });
});

test("a list that is too long is not looked through: the fourth item of millions ends it", () => {
  const bomb = Buffer.concat([Buffer.from('{"ids":['), Buffer.alloc(4 << 20, '"",')]);
  // The rest is no JSON, and nobody gets there.
  expect(inspectJson(bomb, limits, shape)).toEqual({ kind: "items", path: ["ids"], max: 3 });
});
