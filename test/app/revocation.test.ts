import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { TileTokenInvalidReason } from "../../src/gen/proto/tilegate/v1/tile_token_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { aVectorDataset, NOW, operator, type TestApp } from "../harness/app.js";
import { ACCOUNT, DOORS, EXP, opensslHmac, startWithDatasets, VECTOR } from "./token-doors.js";

const TTL = 900;

interface Token {
  readonly sig: string;
  readonly exp: number;
  readonly scope: string;
  readonly expires_in: number;
}

let app: TestApp;
beforeAll(async () => {
  app = await startWithDatasets();
});
afterAll(() => app[Symbol.asyncDispose]());

/** A public dataset for each test: revocations last. */
let id: string;
let tables = 0;
beforeEach(async () => {
  const input = { ...aVectorDataset, tableName: `revoked_${++tables}` };
  id = (await app.useCases.datasets.upsert(OPERATOR, ACCOUNT, [input])).ids[0] ?? "";
});
afterEach(() => {
  app.now = NOW;
});

const later = (seconds: number) => {
  app.now = new Date(app.now.getTime() + seconds * 1000);
};

const tokens = (headers = operator) => app.client(TileTokenService, headers);
const revoke = async () => (await tokens().revokeTileTokens({ datasetId: id })).revokedUntilExp;
const verify = async ({ sig, exp, scope }: Token) => {
  const { valid, reason } = await tokens({}).verifyTileToken({ sig, exp, scope });
  return valid ? "valid" : TileTokenInvalidReason[reason];
};

describe.each(Object.entries(DOORS))("over %s", (_name, ask) => {
  const mint = async () => (await ask(app, [id]))[id] as Token;

  test("tokens that are out are refused at once, and new ones accepted at once", async () => {
    // Often enough that its answer is remembered.
    const [before] = [await mint(), await mint(), await mint()];
    expect(before.exp).toBe(EXP);
    expect(await verify(before)).toBe("valid");
    expect(await revoke()).toBe(EXP);
    expect(await verify(before)).toBe("REVOKED");
    const after = await mint();
    expect(after).toMatchObject({ exp: EXP + 1, expires_in: before.expires_in + 1 });
    expect(after.sig).toBe(opensslHmac(`${after.scope}:${after.exp}`, "tilegate-test-secret"));
    expect(await verify(after)).toBe("valid");
    // What was just issued is out now, too.
    expect(await revoke()).toBe(EXP + 1);
    expect(await verify(after)).toBe("REVOKED");
    expect(await verify(await mint())).toBe("valid");
  });

  test("the next window's tokens expire at its end again", async () => {
    await revoke();
    later(TTL);
    expect(await mint()).toMatchObject({ exp: EXP + TTL });
  });
});

test("however often it is called, no token lives longer than two windows, and none that is out is accepted", async () => {
  const ttl = 20;
  await using short = await startWithDatasets({
    TILE_TOKEN_TTL_SECONDS: String(ttl),
    TILE_TOKEN_MIN_VALIDITY_SECONDS: "5",
  });
  const client = short.client(TileTokenService, operator);
  const mint = async () => (await DOORS["connect-json"]?.(short, [VECTOR]))?.[VECTOR] as Token;
  const verify = async ({ sig, exp, scope }: Token) =>
    (await client.verifyTileToken({ sig, exp, scope })).valid;
  const out = [await mint()];
  let refusals = 0;
  for (let call = 0; call < 100; call += 1) {
    // Time passes, slower than calls come.
    if (call % 4 === 3) short.now = new Date(short.now.getTime() + 1_000);
    const error = await client.revokeTileTokens({ datasetId: VECTOR }).then(
      () => undefined,
      (reason: unknown) => ConnectError.from(reason),
    );
    if (error !== undefined) {
      refusals += 1;
      expect(error.code).toBe(Code.ResourceExhausted);
      expect(error.metadata.get("retry-after")).toBe("1");
      continue;
    }
    for (const token of out) expect(await verify(token)).toBe(false);
    const token = await mint();
    expect(token.exp - short.now.getTime() / 1000).toBeLessThanOrEqual(2 * ttl);
    expect(await verify(token)).toBe(true);
    out.splice(0, out.length, token);
  }
  // Not before it must: the first token lives 20 s, so that the first 20 calls are one after the other.
  expect(refusals).toBeGreaterThan(30);
  expect(refusals).toBeLessThan(60);
});

test("only a dataset's managers may revoke, and others learn nothing of it", async () => {
  const { secret } = await app.useCases.accounts.createServiceToken(OPERATOR, {
    accountId: ACCOUNT,
    name: "",
  });
  const other = await app.useCases.accounts.create(OPERATOR, { name: "other" });
  const foreign = await app.useCases.accounts.createServiceToken(OPERATOR, { accountId: other.id, name: "" });
  const outcome = (headers: Record<string, string>, datasetId = id) =>
    tokens(headers)
      .revokeTileTokens({ datasetId })
      .then(
        () => "ok",
        (error: unknown) => Code[ConnectError.from(error).code],
      );
  expect(await outcome({})).toBe("Unauthenticated");
  expect(await outcome(await app.user({ sub: "owen", account: ACCOUNT }))).toBe("PermissionDenied");
  expect(await outcome({ authorization: `Token ${foreign.secret}` })).toBe("NotFound");
  expect(await outcome(operator, "dadadada-0000-4000-8000-00000000ffff")).toBe("NotFound");
  expect(await outcome({ authorization: `Token ${secret}` })).toBe("ok");
  expect(await outcome(await app.user({ sub: "ada", account: ACCOUNT, roles: ["admin"] }))).toBe("ok");
});

test("deleting a dataset revokes its tokens, and bringing it back does not bring them back", async () => {
  const ask = DOORS["connect-json"];
  const input = { ...aVectorDataset, tableName: `revoked_${tables}` };
  const before = (await ask?.(app, [id]))?.[id] as Token;
  await app.useCases.datasets.delete(OPERATOR, id);
  expect(await verify(before)).toBe("REVOKED");
  await app.useCases.datasets.upsert(OPERATOR, ACCOUNT, [input]);
  expect(await verify(before)).toBe("REVOKED");
  const after = (await ask?.(app, [id]))?.[id] as Token;
  expect(await verify(after)).toBe("valid");
});

test("nor does deleting and bringing back, again and again, lengthen any token's life beyond two windows", async () => {
  const ttl = 10;
  await using short = await startWithDatasets({ TILE_TOKEN_TTL_SECONDS: String(ttl) });
  const input = { ...aVectorDataset, id: VECTOR, tableName: "roads" };
  let refusals = 0;
  for (let time = 0; time < 2 * ttl; time += 1) {
    const refused = await short.useCases.datasets.delete(OPERATOR, VECTOR).catch((error: unknown) => error);
    if (refused !== undefined) {
      expect(refused).toMatchObject({ reason: "REVOKED_TOO_OFTEN", retryAfterSeconds: 1 });
      refusals += 1;
    } else await short.useCases.datasets.upsert(OPERATOR, ACCOUNT, [input]);
    const token = (await DOORS["connect-json"]?.(short, [VECTOR]))?.[VECTOR] as Token;
    expect(token.exp - short.now.getTime() / 1000).toBeLessThanOrEqual(2 * ttl);
  }
  expect(refusals).toBeGreaterThan(0);
  short.now = new Date(short.now.getTime() + 1_000);
  await short.useCases.datasets.delete(OPERATOR, VECTOR);
});

test("what else is changed leaves a revocation as it is", async () => {
  const before = (await DOORS["connect-json"]?.(app, [id]))?.[id] as Token;
  await revoke();
  await app.useCases.datasets.update(OPERATOR, id, { title: "New" });
  expect(await verify(before)).toBe("REVOKED");
});

test("a token of whoever shares the signing key is valid: there is nobody here who could have revoked it", async () => {
  const scope = "somebody_elses_table";
  const sig = opensslHmac(`${scope}:${EXP}`, "tilegate-test-secret");
  expect(await verify({ sig, exp: EXP, scope, expires_in: 0 })).toBe("valid");
});

test("other datasets' tokens live on", async () => {
  const [token] = [(await DOORS["connect-json"]?.(app, [VECTOR]))?.[VECTOR] as Token];
  await revoke();
  expect(await verify(token)).toBe("valid");
});
