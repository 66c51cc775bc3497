import type { Logger } from "pino";
import type { LastUsedRecorder } from "../../domain/api-keys/api-key.js";
import type { Database } from "./database.js";

export interface LastUsedWriter extends LastUsedRecorder, AsyncDisposable {
  /** Writes what was recorded until now. Never rejects: what could not be written is kept for the next time. */
  flush(): Promise<void>;
}

export interface LastUsedOptions {
  readonly database: Pick<Database, "prisma">;
  readonly log: Pick<Logger, "warn">;
  /** Default 30,000: half of the minute that a time may be late. */
  readonly flushIntervalMs?: number;
}

/** About 15 MB, reached only while the database is away. Further keys then wait for their next use. */
const MAX_KEYS = 100_000;

/** A statement's rows: they take about 0.1 s, far from the statement timeout, and are locked no longer. */
const CHUNK = 1_000;

/** Keeps the newest use of each key in memory and writes them all at an interval, and at the end. */
export function createLastUsedRecorder({
  database,
  log,
  flushIntervalMs = 30_000,
}: LastUsedOptions): LastUsedWriter {
  let newest = new Map<string, Date>();
  let flushing = Promise.resolve();

  function record(apiKeyId: string, at: Date): void {
    const known = newest.get(apiKeyId);
    if (known ? known < at : newest.size < MAX_KEYS) newest.set(apiKeyId, at);
  }

  async function write(): Promise<void> {
    const uses = [...newest];
    newest = new Map();
    for (let start = 0; start < uses.length; start += CHUNK) {
      try {
        await writeUses(database, uses.slice(start, start + CHUNK));
      } catch (err) {
        for (const [apiKeyId, at] of uses.slice(start)) record(apiKeyId, at);
        log.warn({ err, keys: newest.size }, "the last uses of API keys can't be written now");
        return;
      }
    }
  }

  const flush = (): Promise<void> => {
    flushing = flushing.then(write);
    return flushing;
  };
  const timer = setInterval(flush, flushIntervalMs).unref();
  return {
    record,
    flush,
    [Symbol.asyncDispose]: () => {
      clearInterval(timer);
      return flush();
    },
  };
}

// Another replica may have written a later use: that one stays, which is decided on the locked rows. Replicas lock the
// rows that they share in the same order, or two flushes at once could wait for each other.
async function writeUses({ prisma }: Pick<Database, "prisma">, uses: readonly [string, Date][]) {
  const ids = uses.map(([apiKeyId]) => apiKeyId);
  const times = uses.map(([, at]) => at.toISOString());
  await prisma.$executeRaw`
      WITH later AS (
        SELECT api_keys.id, used.at
        FROM unnest(${ids}::uuid[], ${times}::timestamptz[]) AS used(id, at) JOIN api_keys USING (id)
        WHERE api_keys.last_used IS NULL OR api_keys.last_used < used.at
        ORDER BY api_keys.id
        FOR NO KEY UPDATE OF api_keys
      )
      UPDATE api_keys SET last_used = later.at FROM later WHERE api_keys.id = later.id`;
}
