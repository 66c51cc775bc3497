import { afterAll, beforeAll, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { aVectorDataset, operator, startTestApp, type TestApp } from "../harness/app.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());

const ORIGIN = "https://maps.example.com";

const pathOfTemplate = (template: string) => template.replace(/\{\w+\}/, "x");

/** Whether a page of any origin is told that it may call. */
async function isOpen(path: string, method: string): Promise<boolean> {
  const headers = { origin: ORIGIN, "access-control-request-method": method };
  const preflight = await app.fetch(path, { method: "OPTIONS", headers });
  const call = await app.fetch(path, { method, headers: { origin: ORIGIN } });
  const told = [preflight, call].map((answer) => answer.headers.get("access-control-allow-origin"));
  expect(told[0]).toBe(told[1]);
  expect(preflight.status === 204).toBe(told[0] !== null);
  return told[0] === "*";
}

test("pages of any origin may call what issues and checks tokens and what verifiers need, and nothing else", async () => {
  const open: string[] = [];
  for (const { name } of app.service.rpcMethods) if (await isOpen(`/${name}`, "POST")) open.push(name);
  for (const { name, method, path, aliases = [] } of app.service.restRoutes) {
    const answers = new Set<boolean>();
    for (const template of [path, ...aliases]) {
      answers.add(await isOpen(pathOfTemplate(template), method));
    }
    expect(answers.size).toBe(1);
    if (answers.has(true)) open.push(name);
  }
  expect(open).toEqual([
    "tilegate.v1.TileTokenService/GetTileToken",
    "tilegate.v1.TileTokenService/BatchGetTileTokens",
    "tilegate.v1.TileTokenService/VerifyTileToken",
    "geolens.batch_tokens",
    "geolens.token",
    "jwks",
    "revocations",
    "tilejson",
  ]);
});

test("every answer of REST has the shape that its route declares", async () => {
  const { id: accountId } = await app.useCases.accounts.create(OPERATOR, { name: "own" });
  const raster = { ...aVectorDataset, kind: "raster", accountId } as const;
  const datasets = await Promise.all([
    app.useCases.datasets.create(OPERATOR, { ...aVectorDataset, accountId, tableName: "roads" }),
    app.useCases.datasets.create(OPERATOR, { ...raster, raster: { bounds: [-180, -85, 180, 85] } }),
    app.useCases.datasets.create(OPERATOR, { ...raster, visibility: "private" }),
  ]);
  const { secret } = await app.useCases.accounts.createServiceToken(OPERATOR, { accountId, name: "" });
  const headers = { authorization: `Token ${secret}` };
  const { key } = await app.useCases.apiKeys.create(OPERATOR, {}, accountId);
  const settings = { name: "a", description: null, user_agent: "QGIS", origins: ["example.com"] };
  const asked: Record<string, { ids?: string[]; body?: unknown; anonymous?: true }> = {
    "geolens.batch_tokens": { body: { dataset_ids: datasets.map(({ id }) => id) }, anonymous: true },
    "geolens.token": { ids: datasets.map(({ id }) => id) },
    tilejson: { ids: datasets.map(({ id }) => id) },
    "maptiler.list_keys": {},
    "maptiler.create_key": { body: settings },
    "maptiler.get_key": { ids: [key.id] },
    "maptiler.change_settings": { ids: [key.id], body: settings },
    "maptiler.delete_key": { ids: [key.id] },
    jwks: { anonymous: true },
    revocations: { anonymous: true },
    healthz: {},
    readyz: {},
  };
  const { restRoutes } = app.service;
  expect(Object.keys(asked).toSorted()).toEqual(restRoutes.map(({ name }) => name).toSorted());
  for (const [name, { ids = [""], body, anonymous }] of Object.entries(asked)) {
    const route = restRoutes.find((each) => each.name === name);
    for (const id of ids) {
      const response = await app.fetch((route?.path ?? "").replace(/\{\w+\}/, id), {
        method: route?.method ?? "",
        ...(body !== undefined && { body: JSON.stringify(body) }),
        headers: anonymous ? {} : headers,
      });
      const answer = await response.json();
      expect([name, response.status, answer]).toEqual([name, 200, route?.response.parse(answer)]);
      if (body !== undefined) expect(route?.request?.parse(body)).toEqual(body);
    }
  }
  expect((await app.fetch("/v1/api_keys", { headers: operator })).status).toBe(422);
});
