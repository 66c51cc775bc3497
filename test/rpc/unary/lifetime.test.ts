import pg from "pg";
import { expect, test } from "vitest";
import { OPERATOR } from "../../../src/domain/identity/principal.js";
import { aVectorDataset, startTestApp } from "../../harness/app.js";
import { createTestDatabase, postgresUrl } from "../../harness/postgres.js";

test.skipIf(!postgresUrl())(
  "what is remembered outlives no lifetime: the two together are the one",
  async () => {
    await using database = await createTestDatabase();
    await using app = await startTestApp({
      DATABASE_URL: database.url,
      ENCRYPTION_KEYS: Buffer.alloc(32, "key").toString("base64"),
      DATASET_CACHE_TTL_SECONDS: "60",
    });
    // When the dataset is read, in the middle of a second.
    const start = 1_800_000_100_500;
    app.now = new Date(start);
    const { id: accountId } = await app.useCases.accounts.create(OPERATOR, { name: "own" });
    const { id } = await app.useCases.datasets.create(OPERATOR, {
      ...aVectorDataset,
      accountId,
      tableName: "roads",
    });
    const ask = async (milliseconds: number) => {
      app.now = new Date(start + milliseconds);
      const body = JSON.stringify({ dataset_ids: [id] });
      return (await app.fetch("/api/tiles/tokens/", { method: "POST", body })).text();
    };
    expect(await ask(0)).toContain('"vector"');
    // Nobody announces this.
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query("UPDATE datasets SET visibility = 'private'");
    await client.end();
    expect(await ask(58_000)).toContain('"vector"');
    // In the second in which a minute ends: asked before its end, and again after it.
    await ask(59_900);
    expect(await ask(60_400)).toContain('"error"');
  },
);
