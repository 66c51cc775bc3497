import { randomUUID } from "node:crypto";
import type { Environment } from "../../harness/tilegate.mjs";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { aVectorDataset, type Headers, startTestApp, type TestApp } from "../harness/app.js";
import { createInstallation } from "../harness/installation.js";

/** An installation's database, filled by a process that has no Redis: what it writes is cold everywhere. */
export interface SeededInstallation extends AsyncDisposable {
  readonly databaseUrl: string;
  readonly env: Environment;
  readonly accountId: string;
  /** Ids of so many public datasets. */
  newDatasets(count: number): Promise<string[]>;
  /** A private dataset. */
  newPrivateDataset(): Promise<string>;
  /** Header with a key that opens these datasets. */
  newApiKey(datasetIds: readonly string[], requestsPerMinute?: number): Promise<Headers>;
  newServiceToken(): Promise<Headers>;
}

/** @param ownDatabaseUrl An empty database of a server that the test stops. Absent: one on the shared server. */
export async function createSeededInstallation(ownDatabaseUrl?: string): Promise<SeededInstallation> {
  const installation = await createInstallation(ownDatabaseUrl);
  const { env } = installation;
  const seeder: TestApp = await startTestApp(env);
  const { accounts, datasets, apiKeys } = seeder.useCases;
  const accountId = randomUUID();
  await accounts.create(OPERATOR, { id: accountId, name: "acme" });

  async function upsert(count: number, visibility: "public" | "private"): Promise<string[]> {
    const ids = Array.from({ length: count }, () => randomUUID());
    const inputs = ids.map((id) => ({
      ...aVectorDataset,
      id,
      tableName: `t${id.replaceAll("-", "")}`,
      visibility,
    }));
    await datasets.upsert(OPERATOR, accountId, inputs);
    return ids;
  }

  return {
    databaseUrl: env.DATABASE_URL ?? "",
    env,
    accountId,
    newDatasets: (count) => upsert(count, "public"),
    newPrivateDataset: async () => (await upsert(1, "private")).join(),
    async newApiKey(datasetIds, requestsPerMinute) {
      const rateLimit = requestsPerMinute && { requests: requestsPerMinute, windowSeconds: 60 };
      const settings = { datasetIds, ...(rateLimit && { rateLimit }) };
      return { "x-api-key": (await apiKeys.create(OPERATOR, settings, accountId)).token };
    },
    async newServiceToken() {
      const { secret } = await accounts.createServiceToken(OPERATOR, { accountId, name: "backend" });
      return { authorization: `Bearer ${secret}` };
    },
    async [Symbol.asyncDispose]() {
      await seeder[Symbol.asyncDispose]();
      await installation[Symbol.asyncDispose]();
    },
  };
}
