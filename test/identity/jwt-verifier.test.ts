import { base64url } from "jose";
import { describe, expect, test } from "vitest";
import { createJwtVerifier, type JwtVerifierOptions } from "../../src/identity/jwt-verifier.js";
import { defaults, failureOf, forge, now, nowSeconds, secret, sign, valid } from "./tokens.js";

const verifierWithSecret = (options: Partial<JwtVerifierOptions> = {}) =>
  createJwtVerifier({ ...defaults, secret, ...options });

async function refusalOf(token: string, options: Partial<JwtVerifierOptions> = {}): Promise<string> {
  const failure = await failureOf(verifierWithSecret(options).verify(token));
  expect(failure.kind).toBe("unauthenticated");
  expect(failure.cause).toBeUndefined();
  for (const part of token.split(".").filter((text) => text !== "")) {
    expect(failure.message).not.toContain(part);
  }
  return failure.reason;
}

describe("claims", () => {
  test("the subject, the account, the roles and the expiry come out", async () => {
    const token = await sign({ ...valid, account: "acme", roles: ["admin", "viewer"] });
    expect(await verifierWithSecret().verify(token)).toEqual({
      subject: "alice",
      account: "acme",
      roles: ["admin", "viewer"],
      expires: new Date(valid.exp * 1000),
    });
  });

  test("a token without account and roles has neither", async () => {
    const claims = await verifierWithSecret().verify(await sign(valid));
    expect(claims).toEqual({ subject: "alice", roles: [], expires: new Date(valid.exp * 1000) });
  });

  test("roles may be one string with blanks between them", async () => {
    const { roles } = await verifierWithSecret().verify(await sign({ ...valid, roles: " admin  viewer" }));
    expect(roles).toEqual(["admin", "viewer"]);
  });

  test("a dotted name reaches into claims, as Keycloak nests its roles", async () => {
    const token = await sign({ ...valid, realm_access: { roles: ["admin"] } });
    const options = { rolesClaim: "realm_access.roles" };
    expect((await verifierWithSecret(options).verify(token)).roles).toEqual(["admin"]);
  });

  test("a claim whose own name has dots goes before a path, as Auth0 names its claims", async () => {
    const rolesClaim = "https://maps.example/roles";
    const token = await sign({ ...valid, [rolesClaim]: ["admin"], "https://maps": { "example/roles": [] } });
    expect((await verifierWithSecret({ rolesClaim }).verify(token)).roles).toEqual(["admin"]);
  });

  test.each(["constructor", "__proto__", "constructor.name", "toString.name"])(
    "nothing is read from what every object inherits, such as %s",
    async (name) => {
      const options = { accountClaim: name, rolesClaim: name };
      const { account, roles } = await verifierWithSecret(options).verify(await sign(valid));
      expect([account, roles]).toEqual([undefined, []]);
    },
  );

  test.each([
    ["no sub", { exp: valid.exp }],
    ["an empty sub", { ...valid, sub: "" }],
    ["a sub that is no string", { ...valid, sub: 7 }],
    ["no exp", { sub: "alice" }],
    ["an exp that is no number", { ...valid, exp: String(valid.exp) }],
    ["an exp beyond all time", { ...valid, exp: 1e300 }],
    ["an nbf that is no number", { ...valid, nbf: "0" }],
    ["an empty account", { ...valid, account: "" }],
    ["an account that is no string", { ...valid, account: ["acme"] }],
    ["a null account", { ...valid, account: null }],
    ["roles that are an object", { ...valid, roles: { admin: true } }],
    ["roles that are not all strings", { ...valid, roles: ["admin", 7] }],
  ])("a token with %s is refused", async (_, payload) => {
    const token = forge({ alg: "HS256" }, payload);
    const [header, body] = token.split(".");
    const key = await crypto.subtle.importKey(
      "raw",
      Buffer.from(secret),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign"],
    );
    const signature = await crypto.subtle.sign("HMAC", key, Buffer.from(`${header}.${body}`));
    expect(await refusalOf(`${header}.${body}.${base64url.encode(new Uint8Array(signature))}`)).toBe(
      "TOKEN_INVALID",
    );
  });
});

describe("time", () => {
  test("a token is refused from the very second of its exp", async () => {
    expect(await refusalOf(await sign({ ...valid, exp: nowSeconds }))).toBe("TOKEN_EXPIRED");
    expect(await refusalOf(await sign({ ...valid, exp: nowSeconds - 3600 }))).toBe("TOKEN_EXPIRED");
    const lastMoment = () => new Date(now.getTime() - 1);
    const claims = await verifierWithSecret({ clock: lastMoment }).verify(
      await sign({ ...valid, exp: nowSeconds }),
    );
    expect(claims.expires).toEqual(now);
  });

  test("a token that starts later is refused, but for 5 seconds between the clocks", async () => {
    expect(await refusalOf(await sign({ ...valid, nbf: nowSeconds + 6 }))).toBe("TOKEN_NOT_YET_VALID");
    const { subject } = await verifierWithSecret().verify(await sign({ ...valid, nbf: nowSeconds + 5 }));
    expect(subject).toBe("alice");
  });
});

describe("issuer and audience", () => {
  const rules = { issuer: "https://idp.example", audience: "tiles" };
  const good = { ...valid, iss: "https://idp.example", aud: ["other", "tiles"] };

  test("those that are expected are accepted", async () => {
    expect((await verifierWithSecret(rules).verify(await sign(good))).subject).toBe("alice");
  });

  test.each([
    ["another issuer", { ...good, iss: "https://idp.example.evil" }],
    ["no issuer", { ...valid, aud: "tiles" }],
    ["another audience", { ...good, aud: "tiles2" }],
    ["no audience", { ...valid, iss: good.iss }],
  ])("a token with %s is refused", async (_, payload) => {
    expect(await refusalOf(await sign(payload), rules)).toBe("TOKEN_INVALID");
  });
});

describe("forgery", () => {
  test.each(["none", "None", "NONE", "nOnE"])("alg %s is no signature", async (alg) => {
    expect(await refusalOf(forge({ alg }, valid))).toBe("TOKEN_INVALID");
    expect(await refusalOf(forge({ alg }, valid, "c2ln"))).toBe("TOKEN_INVALID");
  });

  test.each(["HS384", "HS512"])("%s is refused where HS256 is agreed", async (alg) => {
    expect(await refusalOf(await sign(valid, alg, secret.repeat(2)), { secret: secret.repeat(2) })).toBe(
      "TOKEN_INVALID",
    );
  });

  test("a token signed with another secret is refused", async () => {
    expect(await refusalOf(await sign(valid, "HS256", `${secret}!`))).toBe("TOKEN_INVALID");
  });

  test("a token whose claims were changed is refused", async () => {
    const [header, , signature] = (await sign(valid)).split(".");
    const claims = base64url.encode(JSON.stringify({ ...valid, sub: "mallory" }));
    expect(await refusalOf(`${header}.${claims}.${signature}`)).toBe("TOKEN_INVALID");
  });

  test("a token with a bit of its signature changed, or without it, is refused", async () => {
    const token = await sign(valid);
    const changed = `${token.slice(0, -10)}${token.at(-10) === "A" ? "B" : "A"}${token.slice(-9)}`;
    expect(await refusalOf(changed)).toBe("TOKEN_INVALID");
    expect(await refusalOf(token.slice(0, token.lastIndexOf(".") + 1))).toBe("TOKEN_INVALID");
  });

  test("a critical header that is not understood is refused, and not quoted", async () => {
    const failure = await failureOf(
      verifierWithSecret().verify(forge({ alg: "HS256", crit: ["hunter2"], hunter2: 1 }, valid)),
    );
    expect(failure).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_INVALID" });
    expect(failure.message).not.toContain("hunter2");
  });

  test.each([
    "",
    ".",
    "..",
    "...",
    "a.b.c",
    "é.é.é",
    "\0",
    "e30.e30.e30",
    "bnVsbA.bnVsbA.",
    "x".repeat(16_384),
  ])("%j is refused as a token, whatever it is", async (token) => {
    expect((await failureOf(verifierWithSecret().verify(token))).reason).toBe("TOKEN_INVALID");
  });
});
