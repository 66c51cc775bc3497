import { createHmac } from "node:crypto";
import { base64url } from "jose";
import { describe, expect, test } from "vitest";
import { createJwtVerifier, type JwtVerifierOptions } from "../../src/jwt/jwt-verifier.js";
import { defaults, failureOf, forge, now, nowSeconds, secret, sign, signParts, valid } from "./tokens.js";

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
    expect(await refusalOf(signParts('{"alg":"HS256"}', JSON.stringify(payload)))).toBe("TOKEN_INVALID");
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

describe("type", () => {
  const typed = (typ: unknown) => signParts(JSON.stringify({ alg: "HS256", typ }), JSON.stringify(valid));

  test.each([undefined, "JWT", "jwt", "at+jwt", "AT+JWT", "application/jwt", "Application/at+JWT"])(
    "%s is that of a token for us",
    async (typ) => {
      expect((await verifierWithSecret().verify(typed(typ))).subject).toBe("alice");
    },
  );

  test.each([
    ...[
      "logout+jwt",
      "dpop+jwt",
      "secevent+jwt",
      "JOSE",
      "JWT+x",
      "x/jwt",
      "application/",
      " JWT",
      "JWT\n",
      "",
    ],
    ...[null, 7, ["JWT"]],
  ])("a token of its issuer to another end is no credential: %j", async (typ) => {
    expect(await refusalOf(typed(typ))).toBe("TOKEN_INVALID");
  });
});

describe("a token is written in one way only", () => {
  const swapLast = (text: string, by: (last: string) => string) => text.slice(0, -1) + by(text.slice(-1));
  // One bit more: the last of those that belong to no byte.
  const nextLetter = (letter: string) => String.fromCharCode(letter.charCodeAt(0) + 1);

  test.each<[string, (signature: string) => string]>([
    ["padding", (signature) => `${signature}=`],
    ["bits beyond its last byte", (signature) => swapLast(signature, nextLetter)],
    ["a blank", (signature) => `${signature} `],
    ["a line break within", (signature) => `${signature.slice(0, 8)}\n${signature.slice(8)}`],
    ["base64's own letters", (signature) => signature.replaceAll("-", "+").replaceAll("_", "/")],
  ])("a signature with %s, which is the same to a lenient reader, is refused", async (_, change) => {
    const signatureOf = (token: string) => token.slice(token.lastIndexOf(".") + 1);
    const tokens = await Promise.all(
      Array.from({ length: 20 }, (_, index) => sign({ ...valid, sub: `alice${index}` })),
    );
    const token = tokens.find((each) => /[-_].*[A-Za-y0-8]$/.test(signatureOf(each))) ?? "";
    const signature = signatureOf(token);
    expect(await refusalOf(token.replace(signature, change(signature)))).toBe("TOKEN_INVALID");
    expect((await verifierWithSecret().verify(token)).roles).toEqual([]);
  });

  test.each([
    ["header", '{"alg":"HS256"} ', JSON.stringify(valid)],
    ["claims", '{"alg":"HS256"}', `${JSON.stringify(valid)}  `],
  ])("its %s likewise, although they are signed as they are", async (part, header, claims) => {
    const encoded = [header, claims].map((text) => Buffer.from(text).toString("base64url"));
    const at = part === "header" ? 0 : 1;
    for (const change of [(text: string) => `${text}=`, (text: string) => swapLast(text, nextLetter)]) {
      const input = encoded.map((text, index) => (index === at ? change(text) : text)).join(".");
      const signature = createHmac("sha256", secret).update(input).digest("base64url");
      expect(await refusalOf(`${input}.${signature}`)).toBe("TOKEN_INVALID");
    }
  });

  test.each([
    ["two exp", '{"alg":"HS256"}', `{"sub":"alice","exp":${nowSeconds - 60},"exp":${valid.exp}}`],
    ["two exp, one escaped", '{"alg":"HS256"}', `{"sub":"alice","exp":1,"\\u0065xp":${valid.exp}}`],
    ["two sub", '{"alg":"HS256"}', `{"sub":"mallory","exp":${valid.exp},"sub":"alice"}`],
    ["a name twice in a claim", '{"alg":"HS256"}', `{"sub":"alice","exp":${valid.exp},"x":{"y":1,"y":1}}`],
    ["two alg", '{"alg":"none","alg":"HS256"}', JSON.stringify(valid)],
    ["two typ", '{"alg":"HS256","typ":"logout+jwt","typ":"JWT"}', JSON.stringify(valid)],
  ])("one with %s, of which each reader takes another, is refused", async (_, header, claims) => {
    expect(await refusalOf(signParts(header, claims))).toBe("TOKEN_INVALID");
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
