import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { aVectorDataset, type Headers, startTestApp, type TestApp } from "../harness/app.js";
import { createTestDatabase, postgresUrl, type TestDatabase } from "../harness/postgres.js";

/** One who has another account's id asks whether it exists, and looks at the time that "not found" takes. */
describe.skipIf(!postgresUrl())("another account's dataset and an id that is nobody's", () => {
  let database: TestDatabase;
  let app: TestApp;
  let accountId: string;
  let owner: Headers;
  let stranger: Headers;

  beforeAll(async () => {
    database = await createTestDatabase();
    const ENCRYPTION_KEYS = Buffer.alloc(32, "key").toString("base64");
    app = await startTestApp({ DATABASE_URL: database.url, ENCRYPTION_KEYS });
    const { accounts } = app.useCases;
    const open = async (name: string) => {
      const { id } = await accounts.create(OPERATOR, { name });
      const { secret } = await accounts.createServiceToken(OPERATOR, { accountId: id, name: "" });
      return { id, headers: { authorization: `Token ${secret}` } };
    };
    const own = await open("own");
    accountId = own.id;
    owner = own.headers;
    stranger = (await open("other")).headers;
  });
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  let tables = 0;
  const aDataset = (settings: object) => ({
    ...aVectorDataset,
    ...settings,
    accountId,
    tableName: `t${++tables}`,
  });
  const wait = (milliseconds: number) => {
    app.now = new Date(app.now.getTime() + milliseconds);
  };

  const doors: Record<string, (headers: Headers, id: string) => Promise<unknown>> = {
    "a batch over Connect": (headers, id) =>
      app.client(TileTokenService, headers).batchGetTileTokens({ datasetIds: [id] }),
    "a batch over gRPC": (headers, id) =>
      app.client(TileTokenService, headers, "grpc").batchGetTileTokens({ datasetIds: [id] }),
    "a batch over REST": (headers, id) =>
      app.fetch("/tiles/tokens/", { method: "POST", headers, body: JSON.stringify({ dataset_ids: [id] }) }),
    "one over Connect": (headers, id) =>
      app
        .client(TileTokenService, headers)
        .getTileToken({ datasetId: id })
        .catch(() => undefined),
    "one over REST": (headers, id) => app.fetch(`/tiles/token/${id}/`, { headers }),
  };
  const anonymous = {};
  const cases = Object.keys(doors).flatMap((door) => [
    { door, what: "a private one", settings: { visibility: "private" }, who: "another account's" },
    { door, what: "a draft", settings: { status: "draft" }, who: "anonymous" },
  ]);

  test.each(cases)("cost the same to ask for by $door: $what, $who", async ({ door, settings, who }) => {
    const ask = doors[door] ?? expect.unreachable();
    const headers = who === "anonymous" ? anonymous : stranger;
    // Resolved, so that what is counted is the dataset's.
    await ask(headers, randomUUID());
    const costs = async (id: string) => {
      const statements: number[] = [];
      for (const pause of [0, 0, 1_000, 5_500, 0, 61_000, 0]) {
        wait(pause);
        await ask(headers, randomUUID());
        if (id === hidden) await ask(owner, id);
        const before = await database.statementCount();
        await ask(headers, id);
        statements.push((await database.statementCount()) - before);
      }
      return statements;
    };
    const hidden = (await app.useCases.datasets.create(OPERATOR, aDataset(settings))).id;
    const nobodys = [1, 0, 0, 1, 0, 1, 0];
    expect(await costs(randomUUID())).toEqual(nobodys);
    expect(await costs(hidden)).toEqual(nobodys);
  });

  test("can't be told apart by 10,000 answers' times", { timeout: 60_000 }, async () => {
    const PAIRS = 5_000;
    const inputs = Array.from({ length: 50 }, () => aDataset({ visibility: "private" }));
    const { ids: hidden } = await app.useCases.datasets.upsert(OPERATOR, accountId, inputs);
    const absent = hidden.map(() => randomUUID());
    const path = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
    const headers = { ...stranger, "content-type": "application/json" };
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const time = (id = ""): Promise<number> =>
      new Promise((resolve, reject) => {
        const body = JSON.stringify({ dataset_ids: [id] });
        const begun = performance.now();
        request(app.url + path, { method: "POST", agent, headers }, (response) => {
          response.resume().on("end", () => resolve(performance.now() - begun));
        })
          .on("error", reject)
          .end(body);
      });
    /** Of questions that cost a look-up, and of those that come again within 5 s. */
    const samples = [createSample(), createSample()] as const;
    for (let pair = 0; pair < PAIRS; pair += 1) {
      const index = pair % hidden.length;
      const isAgain = Math.floor(pair / hidden.length) % 2 === 1;
      if (index === 0) {
        wait(isAgain ? 1_000 : 6_500);
        // The owner's map loads its datasets meanwhile.
        const body = JSON.stringify({ dataset_ids: hidden });
        await app.fetch(path, { method: "POST", headers: { ...headers, ...owner }, body });
        await time(randomUUID());
      }
      const sample = samples[isAgain ? 1 : 0];
      // Neither is always the first.
      const asked = [
        async () => sample.hidden.push(await time(hidden[index])),
        async () => sample.absent.push(await time(absent[index])),
      ];
      for (const ask of pair % 2 === 0 ? asked : asked.toReversed()) await ask();
    }
    agent.destroy();
    const areas = samples.map((sample) => areaUnderCurve(sample.hidden, sample.absent));
    for (const area of areas) expect(Math.abs(area - 0.5)).toBeLessThan(0.05);
  });
});

const createSample = () => ({ hidden: [] as number[], absent: [] as number[] });

/** How often one of the first is above one of the second: 0.5 for what can't be told apart. By ranks, as Mann and Whitney. */
function areaUnderCurve(first: readonly number[], second: readonly number[]): number {
  const all = [
    ...first.map((time) => ({ time, isFirst: true })),
    ...second.map((time) => ({ time, isFirst: false })),
  ].toSorted((a, b) => a.time - b.time);
  const ranks = all.reduce((sum, { isFirst }, index) => sum + (isFirst ? index + 1 : 0), 0);
  return (ranks - (first.length * (first.length + 1)) / 2) / (first.length * second.length);
}
