import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { expect, test } from "vitest";
import { createJwtVerifier, type JwtVerifierOptions } from "../../src/jwt/jwt-verifier.js";
import { defaults, failureOf, now, nowSeconds, secret, sign, valid } from "./tokens.js";

/** An identity provider on loopback; `answer` may be replaced at any time. */
async function startProvider(...keys: JWK[]) {
  const publish =
    (...published: JWK[]): RequestListener =>
    (_, response) =>
      response.setHeader("content-type", "application/json").end(JSON.stringify({ keys: published }));
  let requests = 0;
  const provider = {
    answer: publish(...keys),
    publish: (...published: JWK[]) => {
      provider.answer = publish(...published);
    },
    requests: () => requests,
    url: new URL("http://127.0.0.1"),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      if (server.listening) await once(server.close(), "close");
    },
  };
  const server = createServer((request, response) => {
    requests += 1;
    provider.answer(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  provider.url = new URL(`http://127.0.0.1:${port}/jwks`);
  return provider;
}

// One for all RSA algorithms, since making one takes a second.
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });

async function createKey(alg: string, kid?: string) {
  const { publicKey, privateKey } = /^[RP]S/.test(alg)
    ? rsa
    : await generateKeyPair(alg, { extractable: true });
  const jwk: JWK = { ...(await exportJWK(publicKey)), use: "sig", ...(kid !== undefined && { kid }) };
  return { jwk, publicKey, sign: (payload: JWTPayload) => sign(payload, alg, privateKey, kid) };
}

const verifierFor = (jwksUrl: URL, options: Partial<JwtVerifierOptions> = {}) =>
  createJwtVerifier({ ...defaults, ...options, jwksUrl });

/** Valid for as long as these tests' clocks run. */
const lasting = { ...valid, exp: nowSeconds + 3_600 };

function createManualClock() {
  let nowMs = now.getTime();
  return {
    clock: () => new Date(nowMs),
    advance: (milliseconds: number) => {
      nowMs += milliseconds;
    },
  };
}

test.each([
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
])("%s is verified", async (alg) => {
  const key = await createKey(alg, "one");
  await using provider = await startProvider(key.jwk);
  expect((await verifierFor(provider.url).verify(await key.sign(valid))).subject).toBe("alice");
});

test("a public key used as an HMAC secret (algorithm confusion) is refused", async () => {
  const key = await createKey("RS256", "one");
  await using provider = await startProvider(key.jwk);
  const verifier = verifierFor(provider.url);
  const pem = await exportSPKI(key.publicKey);
  for (const text of [pem, pem.trimEnd(), JSON.stringify(key.jwk)]) {
    const failure = await failureOf(verifier.verify(await sign(valid, "HS256", text, "one")));
    expect(failure.reason).toBe("TOKEN_INVALID");
  }
  expect(provider.requests()).toBe(0);
});

test("HS256 is refused even if the provider publishes a symmetric key", async () => {
  const oct = { kty: "oct", kid: "one", k: base64url.encode(secret) };
  await using provider = await startProvider(oct);
  const failure = await failureOf(
    verifierFor(provider.url).verify(await sign(valid, "HS256", secret, "one")),
  );
  expect(failure.reason).toBe("TOKEN_INVALID");
});

test("a token for published keys is refused where a secret is agreed", async () => {
  const key = await createKey("RS256", "one");
  const verifier = createJwtVerifier({ ...defaults, secret });
  expect((await failureOf(verifier.verify(await key.sign(valid)))).reason).toBe("TOKEN_INVALID");
});

test("a key that comes with the token (jwk, jku, x5u headers) is not trusted", async () => {
  const known = await createKey("ES256", "one");
  await using provider = await startProvider(known.jwk);
  await using attacker = await startProvider();
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const own = await exportJWK(publicKey);
  attacker.publish({ ...own, kid: "one" });
  const token = await new SignJWT(valid)
    .setProtectedHeader({
      alg: "ES256",
      kid: "one",
      jwk: own,
      jku: attacker.url.href,
      x5u: attacker.url.href,
    })
    .sign(privateKey);
  const failure = await failureOf(verifierFor(provider.url).verify(token));
  expect(failure.reason).toBe("TOKEN_INVALID");
  expect(attacker.requests()).toBe(0);
});

test("a key of the right id and the wrong owner is refused", async () => {
  const [published, forged] = [await createKey("ES256", "one"), await createKey("ES256", "one")];
  await using provider = await startProvider(published.jwk);
  const failure = await failureOf(verifierFor(provider.url).verify(await forged.sign(valid)));
  expect(failure.reason).toBe("TOKEN_INVALID");
});

test("tokens without kid are tried with every published key of their type", async () => {
  const [one, two, stranger] = [await createKey("ES256"), await createKey("ES256"), await createKey("ES256")];
  await using provider = await startProvider(one.jwk, two.jwk);
  const verifier = verifierFor(provider.url);
  for (const key of [one, two]) expect((await verifier.verify(await key.sign(valid))).subject).toBe("alice");
  expect((await failureOf(verifier.verify(await stranger.sign(valid)))).reason).toBe("TOKEN_INVALID");
  const old = await two.sign({ ...valid, exp: nowSeconds - 60 });
  expect((await failureOf(verifier.verify(old))).reason).toBe("TOKEN_EXPIRED");
});

test("the keys are fetched once for all who wait, and kept", async () => {
  const key = await createKey("ES256", "one");
  await using provider = await startProvider(key.jwk);
  const verifier = verifierFor(provider.url);
  const token = await key.sign(valid);
  await Promise.all(Array.from({ length: 20 }, () => verifier.verify(token)));
  await verifier.verify(token);
  expect(provider.requests()).toBe(1);
});

test("a rotated key is picked up, and unknown ones make no flood of requests", async () => {
  const { clock, advance } = createManualClock();
  const [one, two] = [await createKey("ES256", "one"), await createKey("ES256", "two")];
  const stranger = await createKey("ES256", "three");
  await using provider = await startProvider(one.jwk);
  const verifier = verifierFor(provider.url, { clock });
  await verifier.verify(await one.sign(lasting));
  provider.publish(two.jwk);

  expect((await failureOf(verifier.verify(await two.sign(lasting)))).kind).toBe("unauthenticated");
  expect(provider.requests()).toBe(1);

  advance(30_001);
  expect((await verifier.verify(await two.sign(lasting))).subject).toBe("alice");
  expect(provider.requests()).toBe(2);

  advance(30_001);
  for (const key of [stranger, one]) {
    const failure = await failureOf(verifier.verify(await key.sign(lasting)));
    expect(failure).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_INVALID" });
  }
  expect(provider.requests()).toBe(3);
});

test("a key that the provider withdrew is refused after 10 minutes", async () => {
  const { clock, advance } = createManualClock();
  const [one, two] = [await createKey("ES256", "one"), await createKey("ES256", "two")];
  await using provider = await startProvider(one.jwk);
  const verifier = verifierFor(provider.url, { clock });
  const token = await one.sign(lasting);
  await verifier.verify(token);
  provider.publish(two.jwk);
  advance(600_001);
  expect((await failureOf(verifier.verify(token))).reason).toBe("TOKEN_INVALID");
});

const html: RequestListener = (_, response) => response.setHeader("content-type", "text/html").end("<html>");
const outages: [string, RequestListener][] = [
  ["answers 503", (_, response) => response.writeHead(503).end()],
  ["answers 404", (_, response) => response.writeHead(404).end()],
  ["redirects", (_, response) => response.writeHead(302, { location: "/elsewhere" }).end()],
  ["answers HTML", html],
  ["answers JSON that is no key set", (_, response) => response.end("{}")],
  ["drops the connection", (request) => request.socket.destroy()],
  ["never answers", () => undefined],
  ["never ends its answer", (_, response) => response.write('{"keys":[')],
];

test.each(outages)("a provider that %s is our outage, never a refusal", async (_, answer) => {
  const key = await createKey("ES256", "one");
  await using provider = await startProvider(key.jwk);
  const working = provider.answer;
  provider.answer = answer;
  const { clock, advance } = createManualClock();
  const verifier = verifierFor(provider.url, { clock, jwksTimeoutMs: 1_000 });
  const token = await key.sign(valid);
  const failure = await failureOf(verifier.verify(token));
  expect(failure).toMatchObject({ kind: "unavailable", reason: "UNAVAILABLE", retryAfterSeconds: 5 });
  expect(failure.cause).toBeInstanceOf(Error);

  provider.answer = working;
  advance(5_000);
  expect((await verifier.verify(token)).subject).toBe("alice");
});

test("a provider that refuses connections is our outage", async () => {
  const key = await createKey("ES256", "one");
  const provider = await startProvider(key.jwk);
  await provider[Symbol.asyncDispose]();
  expect((await failureOf(verifierFor(provider.url).verify(await key.sign(valid)))).kind).toBe("unavailable");
});

test("keys that are known outlast an outage; for an unknown one we can't tell", async () => {
  const { clock, advance } = createManualClock();
  const [one, two] = [await createKey("ES256", "one"), await createKey("ES256", "two")];
  await using provider = await startProvider(one.jwk);
  const verifier = verifierFor(provider.url, { clock });
  await verifier.verify(await one.sign(lasting));
  provider.answer = html;
  advance(30_001);
  expect((await failureOf(verifier.verify(await two.sign(lasting)))).kind).toBe("unavailable");
  expect((await verifier.verify(await one.sign(lasting))).subject).toBe("alice");
});

test.each(outages)("no flood of tokens becomes one of requests to a provider that %s", async (_, answer) => {
  const key = await createKey("ES256", "one");
  await using provider = await startProvider(key.jwk);
  provider.answer = answer;
  const { clock, advance } = createManualClock();
  const verifier = verifierFor(provider.url, { clock, jwksTimeoutMs: 200 });
  const token = await key.sign(lasting);
  const fifty = async () => {
    const failures = await Promise.all(Array.from({ length: 50 }, () => failureOf(verifier.verify(token))));
    return failures.map(({ kind, retryAfterSeconds }) => ({ kind, retryAfterSeconds }));
  };
  const allUnavailable = (retryAfterSeconds: number) =>
    Array(50).fill({ kind: "unavailable", retryAfterSeconds });

  expect(await fifty()).toEqual(allUnavailable(5));
  expect(provider.requests()).toBe(1);
  advance(4_001);
  expect(await fifty()).toEqual(allUnavailable(1));
  expect(provider.requests()).toBe(1);
  advance(999);
  expect(await fifty()).toEqual(allUnavailable(10));
  expect(provider.requests()).toBe(2);
});

test("the longer a provider fails the less it is asked, down to every 30 seconds; once it answers all is forgotten", async () => {
  const [one, two] = [await createKey("ES256", "one"), await createKey("ES256", "two")];
  await using provider = await startProvider(one.jwk);
  const working = provider.answer;
  const { clock, advance } = createManualClock();
  const verifier = verifierFor(provider.url, { clock });
  const token = await one.sign(lasting);

  const pauses: (number | undefined)[] = [];
  provider.answer = html;
  for (let failures = 0; failures < 5; failures++) {
    const { retryAfterSeconds = 0 } = await failureOf(verifier.verify(token));
    pauses.push(retryAfterSeconds);
    advance(retryAfterSeconds * 1_000);
  }
  expect(pauses).toEqual([5, 10, 20, 30, 30]);
  expect(provider.requests()).toBe(5);

  provider.answer = working;
  expect((await verifier.verify(token)).subject).toBe("alice");
  provider.answer = html;
  advance(30_000);
  expect((await failureOf(verifier.verify(await two.sign(lasting)))).retryAfterSeconds).toBe(5);
});

test("keys that are known serve for their 10 minutes while every fetch fails, and unknown ones don't shorten them", async () => {
  const [one, two] = [await createKey("ES256", "one"), await createKey("ES256", "two")];
  await using provider = await startProvider(one.jwk);
  const { clock, advance } = createManualClock();
  const verifier = verifierFor(provider.url, { clock });
  const [known, unknown] = [await one.sign(lasting), await two.sign(lasting)];
  await verifier.verify(known);
  provider.answer = html;
  advance(30_000);
  for (let elapsedMs = 30_000; elapsedMs < 600_000; elapsedMs += 30_000) {
    expect((await failureOf(verifier.verify(unknown))).kind).toBe("unavailable");
    expect((await verifier.verify(known)).subject).toBe("alice");
    advance(30_000);
  }
  expect(provider.requests()).toBe(1 + 19);
  expect((await failureOf(verifier.verify(known))).kind).toBe("unavailable");
});

test("a token that expires while the keys are fetched is refused", async () => {
  const key = await createKey("ES256", "one");
  await using provider = await startProvider(key.jwk);
  const { clock, advance } = createManualClock();
  const publish = provider.answer;
  provider.answer = (request, response) => {
    advance(2_000);
    publish(request, response);
  };
  const token = await key.sign({ ...valid, exp: nowSeconds + 1 });
  const failure = await failureOf(verifierFor(provider.url, { clock }).verify(token));
  expect(failure.reason).toBe("TOKEN_EXPIRED");
});

test("a published key that can't be used is our outage, never a refusal", async () => {
  const key = await createKey("ES256", "one");
  await using provider = await startProvider({ ...key.jwk, x: "AA" });
  const failure = await failureOf(verifierFor(provider.url).verify(await key.sign(valid)));
  expect(failure).toMatchObject({ kind: "unavailable", retryAfterSeconds: 1 });
});
