import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AccessDecision } from "../../src/domain/access/access.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { TileTokenErrorCode, type TileTokenResult } from "../../src/gen/proto/tilegate/v1/tile_token_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { aVectorDataset, type Headers, operator, startTestApp, type TestApp } from "../harness/app.js";
import { type CallerKind, type DatasetState, readAccessTable } from "./access-table.js";

let app: TestApp;
let callers: Record<CallerKind, Headers>;
const ids = new Map<string, string>();

const nameOf = ({ visibility, status }: DatasetState) => `${visibility}_${status}`;

beforeAll(async () => {
  app = await startTestApp();
  const { accounts, datasets, apiKeys } = app.useCases;
  const own = (await accounts.create(OPERATOR, { name: "own" })).id;
  const other = (await accounts.create(OPERATOR, { name: "other" })).id;
  for (const { state } of readAccessTable()) {
    if (ids.has(nameOf(state))) continue;
    const created = await datasets.create(OPERATOR, {
      ...aVectorDataset,
      ...state,
      accountId: own,
      tableName: nameOf(state),
      owner: "the-owner",
      readerRoles: ["reader"],
      readerSubjects: ["the-reader"],
    });
    ids.set(nameOf(state), created.id);
  }

  const user = (account: string, sub: string, ...roles: string[]) => app.user({ sub, account, roles });
  const service = async (accountId: string): Promise<Headers> => {
    const { secret } = await accounts.createServiceToken(OPERATOR, { accountId, name: "" });
    return { authorization: `Bearer ${secret}` };
  };
  const key = async (accountId: string, datasetIds: string[] = []): Promise<Headers> => ({
    "x-api-key": (await apiKeys.create(OPERATOR, { datasetIds }, accountId)).token,
  });
  callers = {
    anonymous: {},
    user: await user(own, "somebody"),
    "user: owner": await user(own, "the-owner"),
    "user: admin": await user(own, "somebody", "admin"),
    "user: reader by role": await user(own, "somebody", "reader"),
    "user: reader by subject": await user(own, "the-reader"),
    "API key": await key(own),
    "API key: lists it": await key(own, [...ids.values()]),
    "service token": await service(own),
    "other account's user": await user(other, "somebody"),
    "other account's user with the owner's subject": await user(other, "the-owner"),
    "other account's user with a reader's role": await user(other, "the-reader", "reader"),
    "other account's admin": await user(other, "somebody", "admin"),
    "other account's API key": await key(other),
    "other account's service token": await service(other),
    operator,
  };
});

afterAll(() => app[Symbol.asyncDispose]());

const CODES: Record<Exclude<AccessDecision, "granted">, TileTokenErrorCode> = {
  not_found: TileTokenErrorCode.NOT_FOUND,
  permission_denied: TileTokenErrorCode.PERMISSION_DENIED,
  unauthenticated: TileTokenErrorCode.UNAUTHENTICATED,
};
const STATUSES: Record<AccessDecision, number> = {
  granted: 200,
  not_found: 404,
  permission_denied: 403,
  unauthenticated: 401,
};

function decisionOf(result: TileTokenResult | undefined): AccessDecision | undefined {
  if (result?.result.case === "vector") return "granted";
  const code = result?.result.case === "error" ? result.result.value.code : undefined;
  return (Object.keys(CODES) as (keyof typeof CODES)[]).find((decision) => CODES[decision] === code);
}

describe("the access table", () => {
  test.each(readAccessTable())(
    "$state.visibility, $state.status × $caller: $expected",
    async ({ state, caller, expected }) => {
      const headers = callers[caller];
      const id = ids.get(nameOf(state)) ?? "";

      const batch = await app.client(TileTokenService, headers).batchGetTileTokens({ datasetIds: [id] });
      expect(decisionOf(batch.tokens[id])).toBe(expected);

      const single = await app.fetch(`/api/tiles/token/${id}/`, { headers });
      expect(single.status).toBe(STATUSES[expected]);

      const tileJson = await app.fetch(`/tilejson/${id}.json`, { headers });
      expect(tileJson.status).toBe(STATUSES[expected]);

      const rest = await app.fetch("/api/tiles/tokens/", {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify({ dataset_ids: [id] }),
      });
      const { tokens } = (await rest.json()) as { tokens: Record<string, object> };
      expect(tokens[id]).toHaveProperty(expected === "granted" ? "sig" : "error");
    },
  );

  test("a stranger's draft and an unknown id can't be told apart", async () => {
    const unknown = "00000000-0000-4000-8000-000000000000";
    const draft = ids.get("restricted_draft") ?? "";
    const client = app.client(TileTokenService, callers["other account's admin"]);
    const { tokens } = await client.batchGetTileTokens({ datasetIds: [unknown, draft] });
    expect(tokens[draft]).toEqual(tokens[unknown]);
  });
});
