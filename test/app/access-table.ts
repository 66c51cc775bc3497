import { readFileSync } from "node:fs";
import type { AccessDecision } from "../../src/domain/access/access.js";
import type { DatasetVisibility, PublicationStatus } from "../../src/domain/datasets/dataset.js";

export interface DatasetState {
  readonly visibility: DatasetVisibility;
  readonly status: PublicationStatus;
}

/** Everybody who can ask, as the columns of the table and the exceptions in its cells tell them apart. */
export const CALLERS = [
  "anonymous",
  "user",
  "user: owner",
  "user: admin",
  "user: reader by role",
  "user: reader by subject",
  "API key",
  "API key: lists it",
  "service token",
  "other account's user",
  "other account's user with the owner's subject",
  "other account's user with a reader's role",
  "other account's admin",
  "other account's API key",
  "other account's service token",
  "operator",
] as const;

export type CallerKind = (typeof CALLERS)[number];

export interface Expectation {
  readonly state: DatasetState;
  readonly caller: CallerKind;
  readonly expected: AccessDecision;
}

/** Every dataset state × every caller, from the table in docs/access.md. */
export function readAccessTable(): Expectation[] {
  const page = readFileSync(new URL("../../docs/access.md", import.meta.url), "utf8");
  const rows = page
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  const [header = [], ...body] = rows;
  return body.flatMap((row) =>
    states(row[0] ?? "").flatMap((state) =>
      CALLERS.map((caller) => ({ state, caller, expected: expectation(header, row, caller) })),
    ),
  );
}

function states(cell: string): DatasetState[] {
  const [visibilities = "", status = ""] = cell.split(", ");
  return visibilities.split(" or ").map((visibility) => ({ visibility, status }) as DatasetState);
}

function expectation(header: string[], row: string[], caller: CallerKind): AccessDecision {
  if (caller === "operator") return "granted";
  const [kind = "", trait = ""] = caller.split(": ");
  const column = header.findIndex((title) =>
    kind.startsWith("other account") ? title.includes("another account") : title.split(",")[0] === kind,
  );
  const [rule = "", otherwise] = (row[column] ?? "").split(", else ");
  if (otherwise === undefined) return decision(rule);
  return trait !== "" && EXCEPTIONS[trait]?.test(rule) ? "granted" : decision(otherwise);
}

/** The words by which a cell grants to some callers of its column. */
const EXCEPTIONS: Record<string, RegExp> = {
  owner: /\bowner\b/,
  admin: /\badmin\b/,
  "reader by role": /\brole\/subject among its readers/,
  "reader by subject": /\brole\/subject among its readers/,
  "lists it": /\bif the key lists it/,
};

function decision(cell: string): AccessDecision {
  const decisions: Record<string, AccessDecision> = {
    yes: "granted",
    "not found": "not_found",
    "permission denied": "permission_denied",
    unauthenticated: "unauthenticated",
  };
  const found = decisions[cell];
  if (found === undefined) throw new Error(`docs/access.md says "${cell}", which this test can't read`);
  return found;
}
