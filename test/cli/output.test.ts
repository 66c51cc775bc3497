import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { escapeControls, escapeLines, formatJson, formatTable, printError } from "../../src/cli/output.js";

/** One by one what a terminal may obey or be misled by, independently of how the code says it. */
const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => String.fromCharCode(from + at));
const CONTROLS = [
  ...[range(0x00, 0x1f), range(0x7f, 0x9f)].flat(),
  ...["\u061c", "\u200e", "\u200f", "\u2028", "\u2029"],
  ...[range(0x202a, 0x202e), range(0x2066, 0x2069)].flat(),
];
const controlsIn = (text: string) => CONTROLS.filter((control) => text.includes(control));

const hostile = fc
  .array(fc.oneof(fc.constantFrom(...CONTROLS, "\\", '"', "é", "😀"), fc.string({ unit: "binary" })))
  .map((parts) => parts.join(""));

test("terminal escapes: no control or direction of any text reaches the terminal, in no cell and in no line", () => {
  fc.assert(
    fc.property(hostile, hostile, (name, other) => {
      const [head, ...rows] = formatTable([{ name }, { name: other }]).split("\n");
      expect([head, rows.length]).toEqual(["NAME", 2]);
      expect(controlsIn(rows.join(""))).toEqual([]);
      expect(controlsIn(escapeControls(name))).toEqual([]);
      expect(controlsIn(escapeLines(name))).toEqual(name.includes("\n") ? ["\n"] : []);
    }),
  );
});

test("JSON has none either, and the values are what they were", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ name: hostile })), (rows) => {
      const json = formatJson(rows);
      expect(controlsIn(json).filter((control) => control !== "\n")).toEqual([]);
      expect(JSON.parse(json)).toEqual(rows);
    }),
  );
});

test("nor to standard error, where messages keep their own lines", () => {
  const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  try {
    printError("tilegate: \u001b[2J\u009b\n  \u202e");
    expect(write.mock.calls).toEqual([["tilegate: \\u001b[2J\\u009b\n  \\u202e\n"]]);
  } finally {
    write.mockRestore();
  }
});

test.each([
  ["\u001b[2J", "\\u001b[2J"],
  ["a\r\nb", "a\\u000d\\u000ab"],
  ["\u0007\u007f\u009b31m", "\\u0007\\u007f\\u009b31m"],
  ["gnp.\u202eexe", "gnp.\\u202eexe"],
  ["Ärzte & Söhne 😀 日本", "Ärzte & Söhne 😀 日本"],
])("%j is shown as %s", (text, shown) => {
  expect(escapeControls(text)).toBe(shown);
});

test("columns are aligned by what is shown", () => {
  expect(formatTable([{ a: "\u001b", b: 1 }])).toBe("A       B\n\\u001b  1");
});

test("what can't be read is told apart from what is not there", () => {
  expect(formatTable([{ token: null, expires: undefined }])).toBe("TOKEN         EXPIRES\n(unreadable)  -");
  expect(JSON.parse(formatJson({ token: null, expires: undefined }))).toEqual({ token: null });
});
