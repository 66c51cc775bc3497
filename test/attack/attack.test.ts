import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type NodeProcess, startNode } from "../../harness/node-process.mjs";
import { canStartPostgres } from "../../harness/servers.mjs";
import { postgresUrl } from "../harness/postgres.js";

/** A row of `npm run attack`, as --json writes it. */
interface Row {
  readonly attack: string;
  readonly ended?: string;
  readonly checks: readonly {
    readonly what: string;
    readonly value: number;
    readonly max?: number;
    readonly unit?: string;
    readonly timed?: boolean;
    readonly details?: readonly string[];
  }[];
}

/** For a service that keeps none of its bounds: each attack ends it then. */
const LONGEST_MS = 600_000;

const COMMAND = fileURLToPath(new URL("../../attack/run.mjs", import.meta.url));

const rows = new Map<string, Row>();
let command: NodeProcess | undefined;

/** The short form of all attacks, against a server of their own: as a process, since it is its memory that counts. */
beforeAll(async () => {
  if (!canStartPostgres()) return;
  command = startNode([COMMAND, "--short", "--json"]);
  const { stdout, stderr } = await command.finished;
  process.stderr.write(stderr);
  for (const line of stdout.split("\n").filter(Boolean)) {
    const row: Row = JSON.parse(line);
    rows.set(row.attack, row);
  }
}, LONGEST_MS);

afterAll(async () => {
  // Not killed: it has servers to stop.
  command?.signal("SIGTERM");
  await command?.finished;
});

/** What was missed of what isn't a time: performance is the command's to judge, not a test's. */
function missedBy(attack: string): string[] {
  const row = rows.get(attack);
  if (row === undefined) return ["it was not run"];
  const missed = row.checks.filter(({ value, max, timed }) => !timed && max !== undefined && value > max);
  return [
    ...(row.ended === undefined ? [] : [`the server ended: ${row.ended}`]),
    ...missed.map(({ what, value, max, unit = "", details = [] }) =>
      [`${what}: ${value} ${unit}, at most ${max}`, ...details].join("\n"),
    ),
  ];
}

test.skipIf(!canStartPostgres() || !postgresUrl()).each([
  [
    "bodies",
    "bodies of tiny items, compressed or not (decompression bombs), are refused before they take memory",
  ],
  ["bodies-100", "a hundred such bodies at once fail no honest call"],
  ["inflation", "400 bodies of 4 kB that inflate to 4 MB take no more memory than a few do"],
  ["uploads/http2", "a hundred uploads that do not end are not kept in memory (HTTP/2)"],
  ["uploads/http1", "a hundred uploads that do not end are not kept in memory (HTTP/1.1)"],
  ["fin", "a client that leaves by FIN leaves no descriptor behind (descriptor exhaustion)"],
  ["zero-window/batch", "answers that nobody reads take bounded memory (window starvation): batches"],
  ["zero-window/reflection", "answers that nobody reads take bounded memory (window starvation): reflection"],
  [
    "zero-window/reflection-50",
    "answers that nobody reads take bounded memory (window starvation): long streams",
  ],
  ["zero-window/watch", "answers that nobody reads take bounded memory (window starvation): health watchers"],
  [
    "zero-window/default-window",
    "answers that nobody reads take bounded memory: a window that is not refilled",
  ],
  ["reflection", "reflection sends nothing twice on a stream (amplification)"],
  ["resets", "calls that are reset as soon as they begin fail no other (rapid reset)"],
  ["fat-datasets", "one tenant's fat datasets do not fill the memory of all"],
  [
    "differential",
    "the fast path decides as the plain path does, whatever literals credentials are (memo poisoning)",
  ],
  [
    "confusion",
    "no tile passes by a URI that a proxy or a tile server may read otherwise (parser differential)",
  ],
])("%s: %s", (attack) => {
  expect(missedBy(attack)).toEqual([]);
});
