// `npm run attack`: abuses the service that dist/ holds, and tells what that cost it. docs/attacks.md tells how to read it.
import { parseArgs } from "node:util";
import { createStops, openArena } from "./arena.mjs";
import { ATTACKS } from "./attacks.mjs";
import { residentMb } from "./processes.mjs";
import { formatRow, HEADER, isKept } from "./report.mjs";
import { openStage } from "./stage.mjs";

const USAGE = `usage: npm run attack -- [--only NAME[,NAME]] [--short] [--tls] [--workers N] [--json]
attacks: ${ATTACKS.map(({ name }) => name).join(", ")}
`;

/** An attack that hangs ends then, and its server. */
const LONGEST_MS = 600_000;
const SHORT_LONGEST_MS = 240_000;

/** What a server that serves again may have kept: more would hide what the next attack takes. */
const MAX_KEPT_MB = 20;

/** @returns {{ only: string | undefined, short: boolean, tls: boolean, workers: number, json: boolean } | undefined} */
function readFlags() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: "string" },
        short: { type: "boolean", default: false },
        tls: { type: "boolean", default: false },
        workers: { type: "string", default: "1" },
        json: { type: "boolean", default: false },
      },
    });
    const workers = Number(values.workers);
    return Number.isInteger(workers) && workers >= 1 && workers <= 64
      ? { ...values, only: values.only, workers }
      : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string | undefined} only */
function chosen(only) {
  if (only === undefined) return ATTACKS;
  const names = only.split(",");
  const isMeant = (/** @type {string} */ given, /** @type {string} */ name) =>
    name === given || name.split("/")[0] === given;
  if (names.some((given) => !ATTACKS.some(({ name }) => isMeant(given, name)))) return undefined;
  return ATTACKS.filter(({ name }) => names.some((given) => isMeant(given, name)));
}

const flags = readFlags();
const attacks = flags && chosen(flags.only);
if (flags === undefined || attacks === undefined) {
  process.stderr.write(USAGE);
  process.exit(2);
}
const { short, tls, workers, json } = flags;
const wanted = attacks.filter(
  ({ notShort, cleartextOnly }) => !(short && notShort) && !(tls && cleartextOnly),
);

const stops = createStops();
for (const event of ["SIGINT", "SIGTERM", "uncaughtException"]) {
  process.once(event, (reason) => {
    if (reason instanceof Error) console.error(reason);
    stops.stopAll().finally(() => process.exit(1));
  });
}
/** @type {import("./arena.mjs").Arena} */
let arena;
/** @type {import("./arena.mjs").Target | undefined} */
let used;
try {
  arena = await openArena({ tls, workers, withRedis: wanted.some(({ withRedis }) => withRedis) }, stops);
  if (!json) console.log(HEADER);
  for (const attack of wanted) {
    const row = await measure(attack);
    console.log(json ? JSON.stringify(row) : formatRow(row));
    if (!row.ok) process.exitCode = 1;
  }
} finally {
  await stops.stopAll();
}

/**
 * Against a fresh server each, so that they can be compared. In a short run one that has kept its bounds serves again: its
 * start would take longer than most attacks.
 * @param {import("./stage.mjs").Attack} attack @returns {Promise<import("./report.mjs").Row>}
 */
async function measure(attack) {
  const isUsed = used !== undefined;
  const target = used ?? (await arena.startTarget(attack));
  used = undefined;
  const row = await attacked(attack, target, isUsed);
  const [beforeMb, , afterMb] = row.megabytes;
  if (short && row.ok && afterMb - beforeMb <= MAX_KEPT_MB) used = target;
  else await target.stop();
  return row;
}

/**
 * @param {import("./stage.mjs").Attack} attack @param {import("./arena.mjs").Target} target @param {boolean} isUsed
 * @returns {Promise<import("./report.mjs").Row>}
 */
async function attacked({ name, description, run }, target, isUsed) {
  const began = performance.now();
  // What waits for the server ends with it.
  const deadline = setTimeout(target.stop, short ? SHORT_LONGEST_MS : LONGEST_MS);
  const stage = await openStage(arena, target, { short, isWarm: isUsed });
  try {
    const checks = await Promise.race([run(stage).catch(failed), target.end.then(() => [])]);
    const highest = stage.highestMb();
    const honest = await stage.honest();
    const blockMs = await stage.longestBlockMs();
    await stage.stopAttackers();
    const left = await stage.settle();
    const ended = target.ended();
    return {
      attack: name,
      description,
      ok: ended === undefined && checks.every((check) => isKept(check, short)),
      checks,
      ended,
      megabytes: [stage.beforeMb, highest, residentMb(target.pid)],
      blockMs,
      cpuSeconds: stage.cpuSeconds(),
      honest,
      left,
      seconds: (performance.now() - began) / 1000,
    };
  } finally {
    clearTimeout(deadline);
    await stage.stop();
  }
}

/** @param {unknown} error @returns {import("./stage.mjs").Check[]} */
function failed(error) {
  return [{ what: "failures of the attack itself", value: 1, max: 0, details: [String(error)] }];
}
