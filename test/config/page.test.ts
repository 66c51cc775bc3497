import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { variables } from "../../src/config/variables.js";

test("docs/configuration.md has a row for every variable that is read, and for no other", () => {
  const page = readFileSync("docs/configuration.md", "utf8");
  // The first cell of a row.
  const rows = [...page.matchAll(/^\| ((?:`[A-Z_]+`(?:, )?)+) \|/gm)].map(([, cell = ""]) => cell);
  const told = rows.flatMap((cell) => [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, name = ""]) => name));
  // What is never given but as a file.
  const read = Object.keys(variables.shape).map((name) => (name.startsWith("TLS_") ? `${name}_FILE` : name));
  expect(told.toSorted()).toEqual(read.toSorted());
});
