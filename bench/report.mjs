import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { dirname } from "node:path";
import { ROOT } from "../harness/node-process.mjs";

/**
 * @typedef {object} Row
 * @property {string} id
 * @property {number} value
 * @property {string} unit
 * @property {number} [target] Absent: for information.
 * @property {">=" | "<="} [better] Which side of the target is right. Default: ≥.
 * @property {readonly number[]} [spread] Least and greatest over the rounds.
 * @property {Record<string, unknown>} absolute What the value was made of.
 */

/** @param {Row} row Undefined without a target. */
export const isOk = ({ value, target, better = ">=" }) =>
  target === undefined ? undefined : better === ">=" ? value >= target : value <= target;

const digits = (/** @type {number} */ value) =>
  Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);

/** @param {Row} row */
export function formatRow(row) {
  const { id, value, unit, target, better = ">=", spread, absolute } = row;
  const ok = isOk(row);
  const columns = [
    id.padEnd(26),
    `${digits(value)} ${unit}`.padEnd(14),
    (target === undefined ? "" : `${better} ${target}`).padEnd(9),
    ({ true: "ok", false: "MISSED" }[String(ok)] ?? "").padEnd(7),
    (spread ? spread.map(digits).join("…") : "").padEnd(14),
    describe(absolute),
  ];
  return columns.join(" ");
}

/** @param {unknown} value @returns {string} */
function describe(value) {
  if (typeof value === "number")
    return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return value.map(describe).join("…");
  return Object.entries(value)
    .map(([name, each]) =>
      typeof each === "object" ? `${name} {${describe(each)}}` : `${name} ${describe(each)}`,
    )
    .join(", ");
}

export const HEADER = [
  "row".padEnd(26),
  "value".padEnd(14),
  "target".padEnd(9),
  "".padEnd(7),
  "spread".padEnd(14),
  "made of",
].join(" ");

/**
 * @param {string} path
 * @param {{ rows: readonly Row[], effort: import("./compare.mjs").Effort, versions: Record<string, string> }} results
 */
export async function saveResults(path, { rows, effort, versions }) {
  const { version } = JSON.parse(await readFile(`${ROOT}/package.json`, "utf8"));
  const git = (/** @type {string[]} */ ...args) =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
  const results = {
    date: new Date().toISOString(),
    commit: git("rev-parse", "HEAD") + (git("status", "--porcelain") === "" ? "" : " with changes"),
    machine: {
      os: `${type()} ${release()}`,
      model: cpus()[0]?.model ?? "",
      cpus: cpus().length,
      memory_gib: Math.round(totalmem() / 2 ** 30),
    },
    versions: { node: process.versions.node, tilegate: version, ...versions },
    effort,
    rows: rows.map((row) => ({ ...row, ok: isOk(row) })),
  };
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(results, null, 2)}\n`);
}
