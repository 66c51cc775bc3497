import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { base64url, type JWTPayload, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../../harness/ports.mjs";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { generateSecret } from "../../src/domain/identity/secret.js";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import {
  aVectorDataset,
  ENCRYPTION_KEY,
  type Headers,
  JWT_SECRET,
  NOW,
  OPERATOR_TOKEN,
  operator,
  PROTOCOLS,
  SIGNING_KEY,
  startTestApp,
  type TestApp,
} from "../harness/app.js";

const ACCOUNT = "acc0acc0-0000-4000-8000-000000000001";
const PUBLIC = "dadadada-0000-4000-8000-000000000001";
const PRIVATE = "dadadada-0000-4000-8000-000000000002";
const ISSUER = "https://idp.example.com/";
const AUDIENCE = "tilegate";
const NOW_SECONDS = NOW.getTime() / 1000;

/** Whatever must be in no log and no answer, with what was made of it. */
const secrets = new Set([JWT_SECRET, OPERATOR_TOKEN, SIGNING_KEY, ENCRYPTION_KEY]);
const answers: string[] = [];
const keyPair = generateKeyPairSync("rsa", { modulusLength: 2048 });
const publicPem = keyPair.publicKey.export({ type: "spki", format: "pem" }).toString();

async function startWithDatasets(env: Record<string, string>): Promise<TestApp> {
  const app = await startTestApp(env);
  await app.useCases.accounts.create(OPERATOR, { id: ACCOUNT, name: "acme" });
  await app.useCases.datasets.upsert(OPERATOR, ACCOUNT, [
    { ...aVectorDataset, id: PUBLIC, tableName: "open" },
    { ...aVectorDataset, id: PRIVATE, tableName: "closed", visibility: "private", owner: "olga" },
  ]);
  return app;
}

let app: TestApp;
beforeAll(async () => {
  app = await startWithDatasets({ JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE });
});
afterAll(() => app[Symbol.asyncDispose]());

const valid = { sub: "olga", account: ACCOUNT, iss: ISSUER, aud: AUDIENCE, exp: NOW_SECONDS + 60 };

function keepSecret(token: string): string {
  secrets.add(token);
  return token;
}

const sign = async (
  claims: JWTPayload,
  alg = "HS256",
  key: string | typeof keyPair.privateKey = JWT_SECRET,
) =>
  keepSecret(
    await new SignJWT(claims)
      .setProtectedHeader({ alg })
      .sign(typeof key === "string" ? new TextEncoder().encode(key) : key),
  );

const unsigned = (claims: object, alg: string) =>
  keepSecret(
    `${[{ alg, typ: "JWT" }, claims].map((part) => base64url.encode(JSON.stringify(part))).join(".")}.`,
  );

const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });

async function serviceToken(on: TestApp, expireTime?: Date) {
  const created = await on.useCases.accounts.createServiceToken(OPERATOR, {
    accountId: ACCOUNT,
    name: "backend",
    expireTime,
  });
  keepSecret(created.secret);
  return created;
}

/** What each door says to a caller who asks for a public dataset: gRPC's code, and HTTP's status. */
async function refusals(on: TestApp, headers: Headers) {
  const codes: (Code | "accepted")[] = [];
  for (const protocol of PROTOCOLS) {
    const client = on.client(TileTokenService, headers, protocol);
    const outcomes = await Promise.allSettled([
      client.batchGetTileTokens({ datasetIds: [PUBLIC] }),
      client.getTileToken({ datasetId: PUBLIC }),
    ]);
    for (const outcome of outcomes) {
      const error = outcome.status === "rejected" ? ConnectError.from(outcome.reason) : undefined;
      answers.push(`${error?.message} ${JSON.stringify(error?.details)} ${[...(error?.metadata ?? [])]}`);
      codes.push(error?.code ?? "accepted");
    }
  }
  const json = { "content-type": "application/json", ...headers };
  const rest = await Promise.all([
    on.fetch("/api/tiles/tokens/", {
      method: "POST",
      headers: json,
      body: JSON.stringify({ dataset_ids: [PUBLIC] }),
    }),
    on.fetch(`/api/tiles/token/${PUBLIC}/`, { headers }),
    on.fetch("/tilegate.v1.TileTokenService/GetTileToken", {
      method: "POST",
      headers: json,
      body: JSON.stringify({ datasetId: PUBLIC }),
    }),
  ]);
  for (const response of rest) answers.push(`${[...response.headers]} ${await response.text()}`);
  return {
    codes: [...new Set(codes)],
    statuses: [...new Set(rest.map(({ status }) => status))],
    challenges: [...new Set(rest.map(({ headers }) => headers.get("www-authenticate")))],
  };
}

const UNAUTHENTICATED = { codes: [Code.Unauthenticated], statuses: [401], challenges: ["Bearer"] };
const ACCEPTED = { codes: ["accepted"], statuses: [200], challenges: [null] };

describe("a credential that does not resolve fails the whole call, even for public data:", () => {
  const cases: Record<string, () => Promise<Headers> | Headers> = {
    "an expired JWT": async () => bearer(await sign({ ...valid, exp: NOW_SECONDS })),
    "a JWT without expiry": async () => bearer(await sign({ ...valid, exp: undefined })),
    "a JWT that is not valid yet": async () => bearer(await sign({ ...valid, nbf: NOW_SECONDS + 30 })),
    "a wrong issuer": async () => bearer(await sign({ ...valid, iss: "https://evil.example/" })),
    "no issuer": async () => bearer(await sign({ ...valid, iss: undefined })),
    "a wrong audience": async () => bearer(await sign({ ...valid, aud: "another-service" })),
    "no subject": async () => bearer(await sign({ ...valid, sub: undefined })),
    "an account that does not exist": async () => bearer(await sign({ ...valid, account: "nobody" })),
    "an account that no database can look up": async () => bearer(await sign({ ...valid, account: "a\0" })),
    "another key": async () => bearer(await sign(valid, "HS256", "another-secret-of-32-bytes-at-least")),
    "alg none": () => bearer(unsigned(valid, "none")),
    "alg NonE": () => bearer(unsigned(valid, "NonE")),
    "HS256 without signature": () => bearer(unsigned(valid, "HS256")),
    "RS256 where a secret is configured": async () => bearer(await sign(valid, "RS256", keyPair.privateKey)),
    "HS512 where HS256 is expected": async () => bearer(await sign(valid, "HS512", JWT_SECRET.repeat(2))),
    "a JWT with a changed payload": async () => {
      const [header, , signature] = (await sign(valid)).split(".");
      return bearer(
        keepSecret(`${header}.${base64url.encode(JSON.stringify({ ...valid, sub: "eve" }))}.${signature}`),
      );
    },
    garbage: () => bearer("garbage"),
    "three dots": () => bearer("..."),
    "an empty header": () => ({ authorization: "" }),
    "a scheme without a credential": () => ({ authorization: "Bearer" }),
    "two credentials in one header": () => ({ authorization: `Bearer ${OPERATOR_TOKEN} ${OPERATOR_TOKEN}` }),
    "the operator's token, cut": () => bearer(OPERATOR_TOKEN.slice(0, -1)),
    "the operator's token as a service token": () => ({ authorization: `Token ${OPERATOR_TOKEN}` }),
    "Basic authentication": () => ({ authorization: `Basic ${btoa(`operator:${OPERATOR_TOKEN}`)}` }),
    "an unknown scheme": () => ({ authorization: "Digest x" }),
    "a malformed service token": () => ({ authorization: "Token tgs_x" }),
    "an unknown service token": () => bearer(keepSecret(generateSecret("tgs_"))),
    "an API key as a service token": () => ({ authorization: `Token ${keepSecret(generateSecret("tgk_"))}` }),
    "a service token with a wrong checksum": async () => {
      const { secret } = await serviceToken(app);
      return bearer(keepSecret(secret.slice(0, -1) + (secret.endsWith("0") ? "1" : "0")));
    },
    "a revoked service token": async () => {
      const { secret, serviceToken: created } = await serviceToken(app);
      await app.useCases.accounts.revokeServiceToken(OPERATOR, created.id);
      return { authorization: `Token ${secret}` };
    },
    "an unknown API key": () => ({ "x-api-key": keepSecret(generateSecret("tgk_")) }),
    "a malformed API key": () => ({ "x-api-key": "tgk_x" }),
    "an unknown API key beside the operator's token": () => ({
      ...operator,
      "x-api-key": keepSecret(generateSecret("tgk_")),
    }),
  };

  test.each(Object.entries(cases))("%s", async (_name, headers) => {
    expect(await refusals(app, await headers())).toEqual(UNAUTHENTICATED);
  });
});

test.each(["Token", "Bearer", "token", "BEARER"])(
  "'%s tgs_…' stands for the account's backend",
  async (scheme) => {
    const { secret } = await serviceToken(app);
    const headers = { authorization: `${scheme} ${secret}` };
    const response = await app.fetch(`/api/tiles/token/${PRIVATE}/`, { headers });
    expect(response.status).toBe(200);
    expect(await refusals(app, headers)).toEqual(ACCEPTED);
  },
);

test("a service token expires when its time has come", async () => {
  const { secret } = await serviceToken(app, new Date(NOW.getTime() + 1_000));
  expect(await refusals(app, bearer(secret))).toEqual(ACCEPTED);
  app.now = new Date(NOW.getTime() + 1_000);
  try {
    expect(await refusals(app, bearer(secret))).toEqual(UNAUTHENTICATED);
  } finally {
    app.now = NOW;
  }
});

test("a revoked service token is refused by the very next call", async () => {
  const { secret, serviceToken: created } = await serviceToken(app);
  expect(await refusals(app, bearer(secret))).toEqual(ACCEPTED);
  await app.client(AccountService, operator).revokeServiceToken({ id: created.id });
  expect(await refusals(app, bearer(secret))).toEqual(UNAUTHENTICATED);
});

test("a JWT is refused from the second it expires, whatever was remembered of it", async () => {
  const headers = bearer(await sign(valid));
  expect(await refusals(app, headers)).toEqual(ACCEPTED);
  app.now = new Date((NOW_SECONDS + 60) * 1000);
  try {
    expect(await refusals(app, headers)).toEqual(UNAUTHENTICATED);
  } finally {
    app.now = NOW;
  }
});

describe("the account claim", () => {
  const ownersToken = async (on: TestApp, account: string | undefined) => {
    const headers = bearer(await sign({ ...valid, account }));
    return (await on.fetch(`/api/tiles/token/${PRIVATE}/`, { headers })).status;
  };

  test("may be the account's id in any case, or its name", async () => {
    for (const account of [ACCOUNT, ACCOUNT.toUpperCase(), "acme"])
      expect(await ownersToken(app, account)).toBe(200);
  });

  test("may be absent while there is one account, and is required with two", async () => {
    await using single = await startWithDatasets({});
    expect(await ownersToken(single, undefined)).toBe(200);
    await single.client(AccountService, operator).createAccount({ name: "second" });
    expect(await ownersToken(single, undefined)).toBe(401);
    expect(await ownersToken(single, "acme")).toBe(200);
  });
});

describe("where keys are published", () => {
  test("the outage of the identity provider is unavailability, not a bad credential", async () => {
    const url = `http://127.0.0.1:${await freePort()}/jwks`;
    await using down = await startWithDatasets({ JWT_SECRET: "", JWT_JWKS_URL: url });
    const headers = bearer(await sign(valid, "RS256", keyPair.privateKey));
    expect(await refusals(down, headers)).toEqual({
      codes: [Code.Unavailable],
      statuses: [503],
      challenges: [null],
    });
    const response = await down.fetch(`/api/tiles/token/${PUBLIC}/`, { headers });
    expect(response.headers.get("retry-after")).toBe("5");
    expect(await refusals(down, {})).toEqual(ACCEPTED);
    expect(await refusals(down, operator)).toEqual(ACCEPTED);
    answers.push(...down.log);
  });

  test("a public key does not serve as an HMAC secret (algorithm confusion)", async () => {
    const jwk = { ...keyPair.publicKey.export({ format: "jwk" }), kid: "k1" };
    const provider = createServer((_request, response) => response.end(JSON.stringify({ keys: [jwk] })));
    provider.listen(0, "127.0.0.1");
    await once(provider, "listening");
    const { port } = provider.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/jwks`;
    await using published = await startWithDatasets({ JWT_SECRET: "", JWT_JWKS_URL: url });
    try {
      const genuine = bearer(await sign(valid, "RS256", keyPair.privateKey));
      expect(await refusals(published, genuine)).toEqual(ACCEPTED);
      for (const forged of [
        await sign(valid, "HS256", publicPem),
        await sign(valid),
        unsigned(valid, "none"),
      ]) {
        expect(await refusals(published, bearer(forged))).toEqual(UNAUTHENTICATED);
      }
      answers.push(...published.log);
    } finally {
      provider.close();
    }
  });
});

test("no credential and no key is in any answer or, at the finest level, in the log", () => {
  expect(app.log.length).toBeGreaterThan(100);
  const everything = [...answers, ...app.log].join("\n");
  for (const secret of secrets) expect(everything.includes(secret), secret).toBe(false);
  // Nor a part by which one could go on guessing: the middle of a token.
  for (const secret of secrets) expect(everything.includes(secret.slice(8, -8)), secret).toBe(false);
});
