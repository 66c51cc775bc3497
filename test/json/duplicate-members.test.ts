import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findDuplicateMember } from "../../src/json/duplicate-members.js";

/** A JSON value as it is written: an object's members in their order, and how each string's characters are escaped. */
type Written =
  | { readonly kind: "scalar"; readonly text: string }
  | { readonly kind: "array"; readonly items: readonly Written[] }
  | { readonly kind: "object"; readonly members: readonly Member[] };

interface Member {
  readonly name: string;
  readonly escapes: boolean;
  readonly value: Written;
}

const scalar = fc
  .oneof(
    fc.constantFrom("0", "-1.5e3", "true", "null"),
    fc.string({ unit: "binary" }).map((text) => JSON.stringify(text)),
  )
  .map((text): Written => ({ kind: "scalar", text }));

// Few names, so that they meet: some long, some that a set or an escape may confuse.
const name = fc.oneof(
  fc.constantFrom(
    "",
    "a",
    "exp",
    "__proto__",
    "0",
    "00",
    '"',
    "\\",
    "\\u0061",
    "{",
    "]",
    ",",
    "\u2028",
    "\ud800",
  ),
  fc.integer({ min: 0, max: 40 }).map(String),
);

const { value: written } = fc.letrec<{ value: Written }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.array(tie("value"), { maxLength: 4 }).map((items): Written => ({ kind: "array", items })),
    fc
      .array(fc.record({ name, escapes: fc.boolean(), value: tie("value") }), { maxLength: 20 })
      .map((members): Written => ({ kind: "object", members })),
  ),
}));

const escaped = (text: string) =>
  `"${[...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`).join("")}"`;

function print(value: Written, blank: string): string {
  const list = (items: readonly string[]) => items.join(`${blank},${blank}`);
  switch (value.kind) {
    case "scalar":
      return value.text;
    case "array":
      return `[${blank}${list(value.items.map((item) => print(item, blank)))}${blank}]`;
    case "object":
      return `{${blank}${list(
        value.members.map((member) => {
          const printed = member.escapes ? escaped(member.name) : JSON.stringify(member.name);
          return `${printed}${blank}:${blank}${print(member.value, blank)}`;
        }),
      )}${blank}}`;
  }
}

/** The first name of the text that its object had before. */
function reference(value: Written): string | undefined {
  if (value.kind === "scalar") return undefined;
  const members = value.kind === "object" ? value.members : [];
  const items = value.kind === "array" ? value.items : members.map((member) => member.value);
  for (const [index, item] of items.entries()) {
    const name = members[index]?.name;
    if (name !== undefined && members.slice(0, index).some((earlier) => earlier.name === name)) return name;
    const below = reference(item);
    if (below !== undefined) return below;
  }
  return undefined;
}

test("a name that an object has twice is found, however it is written; no other is", () => {
  const [found, none] = [{ count: 0 }, { count: 0 }];
  fc.assert(
    fc.property(written, fc.constantFrom("", " ", "\n\t"), (value, blank) => {
      const text = print(value, blank);
      JSON.parse(text);
      const expected = reference(value);
      (expected === undefined ? none : found).count++;
      expect(findDuplicateMember(text)).toBe(expected);
    }),
    { numRuns: 2_000 },
  );
  expect(Math.min(found.count, none.count)).toBeGreaterThan(100);
});

test("what JSON.parse reads as two texts in two objects is not taken for one object's", () => {
  expect(findDuplicateMember('{"a":{"a":"a","b":["a",{"a":"\\"a\\":"}]},"b":{"a":1}}')).toBeUndefined();
});

describe("anybody's text takes no more than its length allows:", () => {
  const numbered = (count: number, member: (index: number) => string) =>
    `{${Array.from({ length: count }, (_, index) => member(index)).join(",")}}`;

  test.each([
    ["100,000 names", numbered(100_000, (index) => `"name${index}":0`), "name99999"],
    // V8 hashes a text of digits to its number: these would all meet in one bucket of a set.
    ["100,000 names of digits that collide", numbered(100_000, (index) => `"${index * 1024}":0`), "0"],
    ["100,000 escaped names", numbered(100_000, (index) => `"\\u0065${index}":0`), "e0"],
  ])("%s", (_, text, duplicate) => {
    expect(findDuplicateMember(text)).toBeUndefined();
    expect(findDuplicateMember(`${text.slice(0, -1)},${JSON.stringify(duplicate)}:1}`)).toBe(duplicate);
  });

  test("100,000 levels", () => {
    const nested = (innermost: string) =>
      `${'{"a":[0,{"b":1,"c":'.repeat(50_000)}${innermost}${"}]}".repeat(50_000)}`;
    expect(findDuplicateMember(nested("0"))).toBeUndefined();
    expect(findDuplicateMember(nested('0,"b":2'))).toBe("b");
  });

  test("a string of a million backslashes or quotes", () => {
    for (const character of ["\\", '"']) {
      const text = JSON.stringify({ a: character.repeat(1_000_000), b: 0 });
      expect(findDuplicateMember(text)).toBeUndefined();
      expect(findDuplicateMember(`${text.slice(0, -1)},"a":1}`)).toBe("a");
    }
  });

  test("a text that is cut off in a string, which JSON.parse refuses", () => {
    expect(findDuplicateMember('{"a":"b')).toBeUndefined();
  });
});
