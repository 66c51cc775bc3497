import { startTilegate, type Tilegate } from "../../harness/tilegate.mjs";
import { DEMO_ACCOUNT, DEMO_DATASETS } from "../../src/demo/catalog.js";
import { createInstallation } from "../harness/installation.js";

const OPERATOR_TOKEN = "operator-token-of-the-edge's-tests";

/** The built service with the demo's datasets, before any proxy. */
export interface EdgeService extends AsyncDisposable {
  readonly url: string;
  readonly signingKey: string;
  /** How often it was asked until now whether a tile may pass. */
  authCalls(): Promise<number>;
  /** Calls an RPC as the operator. @param name Without the package: "ApiKeyService/CreateApiKey". */
  call(name: string, request: unknown): Promise<Record<string, unknown>>;
  /** A key that pages of localhost may use for the datasets. @param requests Per minute. */
  createKey(datasetIds: readonly string[], requests?: number): Promise<string>;
  kill(): Promise<void>;
}

/** @param env As the example's comment says. */
export async function startEdgeService(env: Readonly<Record<string, string>>): Promise<EdgeService> {
  const installation = await createInstallation();
  const { TILE_SIGNING_KEYS = "" } = installation.env;
  const service: Tilegate = await startTilegate({
    ...installation.env,
    OPERATOR_TOKEN,
    SEED_DEMO: "true",
    LOG_LEVEL: "debug",
    TILE_PATHS: "tileserver-gl",
    ...env,
  });

  let calls = 0;
  async function call(name: string, request: unknown): Promise<Record<string, unknown>> {
    calls++;
    const response = await fetch(`${service.url}/tilegate.v1.${name}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${OPERATOR_TOKEN}` },
      body: JSON.stringify(request),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${name}: ${JSON.stringify(answer)}`);
    return answer as Record<string, unknown>;
  }

  return {
    url: service.url,
    signingKey: TILE_SIGNING_KEYS,
    async authCalls() {
      // Once a later call is in its log, all before it are.
      await call("AccountService/ListAccounts", {});
      await service.logged("rpc", calls);
      return service.log.filter(({ rest }) => rest === "auth.tiles").length;
    },
    call,
    async createKey(datasetIds, requests) {
      const apiKey = {
        accountId: DEMO_ACCOUNT.id,
        origins: ["localhost"],
        datasetIds,
        ...(requests !== undefined && { rateLimit: { requests } }),
      };
      const { apiKey: created } = await call("ApiKeyService/CreateApiKey", { apiKey });
      return (created as { token: string }).token;
    },
    kill: () => service.stop(),
    [Symbol.asyncDispose]: async () => {
      await service.stop();
      await installation[Symbol.asyncDispose]();
    },
  };
}

/** The demo's dataset with this table. */
export function datasetOf(table: string): { readonly id: string } {
  const dataset = DEMO_DATASETS.find((each) => "tableName" in each && each.tableName === table);
  if (dataset?.id === undefined) throw new Error(`the demo has no ${table}`);
  return { id: dataset.id };
}
