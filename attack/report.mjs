/**
 * @typedef {import("./stage.mjs").Check} Check
 * @typedef {object} Row
 * @property {string} attack
 * @property {string} description
 * @property {boolean} ok
 * @property {readonly Check[]} checks
 * @property {string | undefined} ended Why the server did, if it did.
 * @property {readonly [before: number, highest: number, after: number]} megabytes Resident.
 * @property {number} blockMs The longest that an event loop of the server was held up.
 * @property {number} cpuSeconds
 * @property {import("./stage.mjs").HonestReport | undefined} honest
 * @property {number} left Connections 5 s later.
 * @property {number} seconds That it took.
 */

/** @param {Check} check @param {boolean} short */
export const isKept = ({ value, max, timed = false }, short) =>
  max === undefined || (short && timed) || value <= max;

const COLUMNS = /** @type {const} */ ([
  ["attack", 24],
  ["", 7],
  ["RSS MB", 14],
  ["block ms", 9],
  ["CPU s", 7],
  ["batch p99 (failed)", 19],
  ["probe p99 (failed)", 19],
  ["left", 6],
  ["bounds", 0],
]);

/** @param {readonly string[]} cells */
const line = (cells) =>
  COLUMNS.map(([, width], index) => (cells[index] ?? "").padEnd(width))
    .join(" ")
    .trimEnd();

export const HEADER = line(COLUMNS.map(([title]) => title));

const digits = (/** @type {number} */ value) =>
  Number.isInteger(value) || Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);

/** With what made a bound be missed, also one that a short run doesn't judge. @param {Row} row */
export function formatRow(row) {
  const { attack, ok, megabytes, blockMs, cpuSeconds, honest, left, checks, ended } = row;
  const clients = (/** @type {import("./honest.mjs").Report | undefined} */ report) =>
    report ? `${digits(report.p99Ms)} ms (${report.failed})` : "";
  const told = line([
    attack,
    ok ? (checks.some(({ max }) => max !== undefined) ? "ok" : "") : "MISSED",
    megabytes.map((each) => each.toFixed(0)).join("→"),
    digits(blockMs),
    digits(cpuSeconds),
    clients(honest?.batches),
    clients(honest?.probes),
    digits(left),
    checks.map(formatCheck).join(", "),
  ]);
  const details = checks
    .filter((check) => !isKept(check, false))
    .flatMap(({ what, details = [] }) => details.map((detail) => `    ${what}: ${detail}`));
  return [told, ...(ended === undefined ? [] : [`    the server ended: ${ended}`]), ...details].join("\n");
}

/** @param {Check} check */
const formatCheck = ({ what, value, max, unit = "" }) =>
  `${what} ${digits(value)}${max === undefined ? "" : ` ≤ ${max}`}${unit && ` ${unit}`}`;
