import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../../src/config/config.js";
import { ConfigError } from "../../src/config/read.js";

const signingKey = "0123456789abcdef";
const encryptionKey = randomBytes(32).toString("base64");
const postgres = {
  DATABASE_URL: "postgres://tilegate:pw@db/tilegate",
  TILE_SIGNING_KEYS: signingKey,
  ENCRYPTION_KEYS: encryptionKey,
};

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tilegate-config-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function problemsOf(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen);
}

test("an empty environment is the embedded service on loopback, its secrets left to the data directory", () => {
  const { server, ...rest } = readConfig({});
  expect(server).toMatchObject({ host: "127.0.0.1", port: 8080, corsOrigins: "*" });
  expect(server.tls).toBeUndefined();
  expect(rest).toEqual({
    database: { kind: "embedded", dataDir: "./data" },
    secrets: { kind: "data_dir", dataDir: "./data", given: {} },
    tokens: { ttlSeconds: 900, minValiditySeconds: 60, tenancy: "single", signingAlgorithm: "hmac" },
    cacheTtlSeconds: 60,
    adminRole: "admin",
    forwardAuth: { tilePaths: ["geolens", "martin"], rateLimitStatus: 429 },
    seedDemo: true,
    workers: 1,
    shutdownDelaySeconds: 0,
    logLevel: "info",
  });
});

test("with DATABASE_URL the service listens everywhere, seeds nothing and takes its keys from the environment", () => {
  const second = randomBytes(32).toString("base64");
  const config = readConfig({
    ...postgres,
    TILE_SIGNING_KEYS: `${signingKey},ключ-подписи`,
    ENCRYPTION_KEYS: `${encryptionKey}, ${second}`,
    OPERATOR_TOKEN: "operator-operator",
  });
  expect(config.server.host).toBe("0.0.0.0");
  expect(config.seedDemo).toBe(false);
  expect(config.database).toEqual({ kind: "postgres", url: postgres.DATABASE_URL });
  expect(config.secrets).toEqual({
    kind: "given",
    given: {
      signingKeys: [signingKey, "ключ-подписи"],
      encryptionKeys: [Buffer.from(encryptionKey, "base64"), Buffer.from(second, "base64")],
      operatorToken: "operator-operator",
    },
  });
});

test("several workers need DATABASE_URL, since the embedded database has one process", () => {
  expect(problemsOf({ WORKERS: "2" })).toEqual([
    "WORKERS: more than 1 needs DATABASE_URL, the embedded database has one process",
  ]);
  expect(problemsOf({ WORKERS: "65" })).toContain("WORKERS: must be a whole number from 1 to 64");
  expect(readConfig({ WORKERS: "1" }).workers).toBe(1);
  expect(readConfig({ ...postgres, WORKERS: "64" }).workers).toBe(64);
});

test("load balancers get 5 s to notice a shutdown, and none when embedded, where nobody balances", () => {
  expect(readConfig(postgres).shutdownDelaySeconds).toBe(5);
  expect(readConfig({}).shutdownDelaySeconds).toBe(0);
  expect(readConfig({ ...postgres, SHUTDOWN_DELAY_SECONDS: "0" }).shutdownDelaySeconds).toBe(0);
});

test("what is given is kept even where the data directory could supply it", () => {
  const { secrets } = readConfig({ TILE_SIGNING_KEYS: signingKey, DATA_DIR: "/var/lib/tilegate" });
  expect(secrets).toEqual({
    kind: "data_dir",
    dataDir: "/var/lib/tilegate",
    given: { signingKeys: [signingKey] },
  });
});

test("Ed25519 keys may be there before they sign, and must be there when they do", () => {
  const seeds = [randomBytes(32), randomBytes(32)];
  const TILE_ED25519_KEYS = seeds.map((seed) => seed.toString("base64")).join(", ");
  for (const [TILE_SIGNING_ALGORITHM, signingAlgorithm] of [
    ["", "hmac"],
    ["hmac", "hmac"],
    ["ed25519", "ed25519"],
  ]) {
    const { tokens, secrets } = readConfig({ ...postgres, TILE_SIGNING_ALGORITHM, TILE_ED25519_KEYS });
    expect(tokens.signingAlgorithm).toBe(signingAlgorithm);
    expect(secrets.given).toMatchObject({ signingKeys: [signingKey], ed25519Keys: seeds });
  }
  for (const env of [{}, postgres]) {
    expect(problemsOf({ ...env, TILE_SIGNING_ALGORITHM: "ed25519" })).toEqual([
      "TILE_ED25519_KEYS: required with TILE_SIGNING_ALGORITHM=ed25519",
    ]);
  }
  const { TILE_SIGNING_KEYS: _, ...without } = postgres;
  expect(problemsOf({ ...without, TILE_SIGNING_ALGORITHM: "ed25519", TILE_ED25519_KEYS })).toEqual([
    "TILE_SIGNING_KEYS: required with DATABASE_URL",
  ]);
});

test("an empty variable is an unset one", () => {
  const env = { PORT: "", DATABASE_URL: "", JWT_SECRET: "", TLS_CERT_FILE: "", LOG_LEVEL: "" };
  expect(readConfig(env)).toEqual(readConfig({}));
});

test("the configuration can't be changed once read", () => {
  const config = readConfig({ ...postgres, JWT_SECRET: "s".repeat(32), CORS_ORIGINS: "https://a.example" });
  expect(isDeeplyFrozen(config)).toBe(true);
  expect(Object.isFrozen(config.server.corsOrigins)).toBe(true);
});

test("every problem is listed, in one message", () => {
  const env = {
    PORT: "65536",
    DATABASE_URL: "mysql://db",
    JWT_SECRET: "short",
    JWT_JWKS_URL: "ftp://idp",
    TLS_KEY_FILE: join(directory, "missing.pem"),
    TENANCY: "both",
    TILE_TOKEN_TTL_SECONDS: "300",
    TILE_TOKEN_MIN_VALIDITY_SECONDS: "301",
  };
  expect(problemsOf(env)).toEqual([
    "TLS_KEY_FILE: can't read the file (ENOENT)",
    "PORT: must be a whole number from 0 to 65535",
    expect.stringMatching(/^DATABASE_URL: must be a postgres:\/\/ or postgresql:\/\/ URL/),
    "TENANCY: must be single or multi",
    "JWT_SECRET: must have at least 16 bytes",
    "JWT_JWKS_URL: must be an http:// or https:// URL without user name and password",
    "TILE_TOKEN_MIN_VALIDITY_SECONDS: must not exceed TILE_TOKEN_TTL_SECONDS",
    "TILE_SIGNING_KEYS: required with DATABASE_URL",
    "ENCRYPTION_KEYS: required with DATABASE_URL",
    "JWT_SECRET and JWT_JWKS_URL: only one may be set",
    "TLS_CERT_FILE: required with TLS_KEY_FILE",
  ]);
  expect(() => readConfig(env)).toThrow(/^Invalid configuration:\n( {2}\S.*\n){10} {2}\S.*$/);
});

describe.each([
  ["PORT", "80a"],
  ["PORT", "-1"],
  ["PORT", "1e3"],
  ["DATABASE_URL", "db.example/tilegate"],
  ["DATABASE_URL", "postgres://tilegate:p#ss@db/tilegate"],
  ["REDIS_URL", "cache.example:6379"],
  ["REDIS_URL", "http://cache.example"],
  ["REDIS_URL", "redis://:p#ss@cache.example"],
  ["REDIS_URL", "redis:///0"],
  ["REDIS_URL", "redis://cache.example/database"],
  ["REDIS_URL", "redis://one.example,two.example"],
  ["REDIS_URL", "redis+sentinel://one.example,two.example"],
  ["REDIS_URL", "redis+sentinel://one.example/tiles/database"],
  ["REDIS_URL", "redis+sentinel://one.example,/tiles"],
  ["REDIS_URL", "redis+sentinel://one.example/tiles?password=x"],
  ["REDIS_URL", "redis+cluster://one.example:port"],
  ["REDIS_URL", "redis+cluster://one.example/1"],
  ["REDIS_URL", "redis+cluster://user:100%@one.example"],
  ["SEED_DEMO", "yes"],
  ["LOG_LEVEL", "loud"],
  ["TILE_SIGNING_KEYS", "fifteen-bytes-x"],
  ["TILE_SIGNING_KEYS", `${signingKey},`],
  ["TILE_SIGNING_KEYS", `${signingKey},${signingKey}`],
  ["TILE_SIGNING_KEYS", `${signingKey}, fedcba9876543210`],
  ["TILE_SIGNING_ALGORITHM", "Ed25519"],
  ["TILE_SIGNING_ALGORITHM", "none"],
  ["TILE_ED25519_KEYS", randomBytes(31).toString("base64")],
  ["TILE_ED25519_KEYS", randomBytes(64).toString("base64")],
  ["TILE_ED25519_KEYS", randomBytes(32).toString("hex")],
  ["TILE_ED25519_KEYS", `${encryptionKey},`],
  ["TILE_ED25519_KEYS", `${encryptionKey},${encryptionKey}`],
  ["ENCRYPTION_KEYS", randomBytes(31).toString("base64")],
  ["ENCRYPTION_KEYS", randomBytes(33).toString("base64")],
  ["ENCRYPTION_KEYS", `${encryptionKey.slice(0, -1)}!`],
  ["ENCRYPTION_KEYS", `${encryptionKey},${encryptionKey}`],
  ["OPERATOR_TOKEN", "fifteen-bytes-x"],
  ["OPERATOR_TOKEN", "tgs_0123456789abcdef"],
  ["OPERATOR_TOKEN", "tgk_0123456789abcdef"],
  ["OPERATOR_TOKEN", "with a blank inside"],
  ["TENANCY", "Single"],
  ["TILE_BASE_URL", "maps.example.com"],
  ["TILE_BASE_URL", "//maps.example.com"],
  ["TILE_BASE_URL", "ftp://tiles.example.com"],
  ["TILE_BASE_URL", "https://:80"],
  ["TILE_BASE_URL", "https://me@tiles.example.com"],
  ["TILE_BASE_URL", "https://tiles.example.com/?a=b"],
  ["TILE_BASE_URL", "https://tiles.example.com/#a"],
  ["TILE_BASE_URL", "https://tiles.example.com\\a"],
  ["TILE_TOKEN_TTL_SECONDS", "-1"],
  ["TILE_TOKEN_TTL_SECONDS", "86401"],
  ["TILE_TOKEN_MIN_VALIDITY_SECONDS", "0.5"],
  ["TILE_TOKEN_MIN_VALIDITY_SECONDS", "901"],
  ["JWT_SECRET", "fifteen-bytes-x"],
  ["JWT_JWKS_URL", "idp.example/jwks"],
  ["JWT_JWKS_URL", "https://user:pass@idp.example/jwks"],
  ["CORS_ORIGINS", "maps.example.com"],
  ["CORS_ORIGINS", "https://maps.example.com/app"],
  ["CORS_ORIGINS", "https://maps.example.com,*"],
  ["CORS_ORIGINS", "null"],
  ["TLS_CERT", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"],
  ["TLS_KEY", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"],
])("%s=%s", (name, value) => {
  test("is refused, by name and without its value", () => {
    const problems = problemsOf({ [name]: value });
    expect(problems[0]).toMatch(new RegExp(`^${name}(, item \\d)?: `));
    expect(problems.join("\n")).not.toContain(value);
  });

  test("is refused from a file too", () => {
    const problems = problemsOf({ [`${name}_FILE`]: file("value", `${value}\n`) });
    expect(problems[0]).toMatch(new RegExp(`^${name}_FILE(, item \\d)?: `));
    expect(problems.join("\n")).not.toContain(value);
  });
});

test("a bad item of a list is named by its place", () => {
  expect(problemsOf({ TILE_SIGNING_KEYS: `${signingKey},short` })).toEqual([
    "TILE_SIGNING_KEYS, item 2: must have at least 16 bytes",
  ]);
});

test("a token is always valid for a while", () => {
  expect(problemsOf({ TILE_TOKEN_MIN_VALIDITY_SECONDS: "0" })).toHaveLength(1);
});

test.each([
  ["900", 60],
  ["30", 30],
])("with windows of %s s a token lives at least %d s unless it is said otherwise", (ttl, minimum) => {
  expect(readConfig({ TILE_TOKEN_TTL_SECONDS: ttl }).tokens.minValiditySeconds).toBe(minimum);
});

test.each(["0", "65535"])("PORT=%s is accepted", (port) => {
  expect(readConfig({ PORT: port }).server.port).toBe(Number(port));
});

describe("files", () => {
  test("a value from a file loses one trailing newline and nothing else", () => {
    const { secrets } = readConfig({
      TILE_SIGNING_KEYS_FILE: file("lf", `${signingKey}\n`),
      OPERATOR_TOKEN_FILE: file("crlf", "operator-operator\r\n"),
    });
    expect(secrets.given).toEqual({ signingKeys: [signingKey], operatorToken: "operator-operator" });
    expect(problemsOf({ TILE_SIGNING_KEYS_FILE: file("two", `${signingKey}\n\n`) })).toEqual([
      "TILE_SIGNING_KEYS_FILE, item 1: must not begin or end with a blank",
    ]);
  });

  test("a variable that is set both ways is refused", () => {
    expect(problemsOf({ PORT: "1", PORT_FILE: file("port", "1") })).toEqual([
      "PORT and PORT_FILE: only one may be set",
    ]);
  });

  test("an empty file is not an unset variable", () => {
    expect(problemsOf({ DATABASE_URL_FILE: file("empty", "\n") })).toContain(
      "DATABASE_URL_FILE: the file is empty",
    );
  });

  test("an unreadable file is named by its variable, not by a path that may be the secret itself", () => {
    expect(problemsOf({ JWT_SECRET_FILE: "hunter2hunter2" })).toEqual([
      "JWT_SECRET_FILE: can't read the file (ENOENT)",
    ]);
    expect(problemsOf({ JWT_SECRET_FILE: directory })).toEqual([
      "JWT_SECRET_FILE: can't read the file (EISDIR)",
    ]);
  });

  test("a required secret whose file can't be read is not also reported as absent", () => {
    const { TILE_SIGNING_KEYS: _, ...rest } = postgres;
    expect(problemsOf({ ...rest, TILE_SIGNING_KEYS_FILE: join(directory, "none") })).toEqual([
      "TILE_SIGNING_KEYS_FILE: can't read the file (ENOENT)",
    ]);
  });
});

describe("TLS", () => {
  let cert: string;
  let key: string;
  let otherKey: string;

  beforeAll(() => {
    cert = join(directory, "cert.pem");
    key = join(directory, "key.pem");
    otherKey = join(directory, "other.pem");
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const request = (...args: string[]) =>
      execFileSync("openssl", ["req", "-x509", "-subj", "/CN=localhost", ...curve, ...args], {
        stdio: "ignore",
      });
    request("-keyout", key, "-out", cert);
    request("-keyout", otherKey, "-out", join(directory, "other-cert.pem"));
  });

  test("a certificate with its key turns it on", () => {
    const { tls } = readConfig({ TLS_CERT_FILE: cert, TLS_KEY_FILE: key }).server;
    expect(tls?.cert).toBe(readFileSync(cert, "utf8").trimEnd());
    expect(tls?.key).toBe(readFileSync(key, "utf8").trimEnd());
  });

  test("a key of another certificate is refused", () => {
    expect(problemsOf({ TLS_CERT_FILE: cert, TLS_KEY_FILE: otherKey })).toEqual([
      "TLS_CERT_FILE and TLS_KEY_FILE: the key is not the certificate's",
    ]);
  });

  test("half of it is refused", () => {
    expect(problemsOf({ TLS_CERT_FILE: cert })).toEqual(["TLS_KEY_FILE: required with TLS_CERT_FILE"]);
    expect(problemsOf({ TLS_KEY_FILE: key })).toEqual(["TLS_CERT_FILE: required with TLS_KEY_FILE"]);
  });

  test("a certificate and a key in each other's place are refused", () => {
    expect(problemsOf({ TLS_CERT_FILE: key, TLS_KEY_FILE: cert })).toEqual([
      "TLS_CERT_FILE: must be a certificate in PEM form",
      "TLS_KEY_FILE: must be a private key in PEM form, not encrypted",
    ]);
  });
});

test("JWTs are refused until a key to verify them is given", () => {
  expect(readConfig({ JWT_ISSUER: "https://idp.example" }).jwt).toBeUndefined();
});

test("the identity provider's settings arrive whole, for a secret and for published keys", () => {
  const rules = {
    JWT_ISSUER: "https://idp.example",
    JWT_AUDIENCE: "tiles",
    JWT_ACCOUNT_CLAIM: "tenant",
    JWT_ROLES_CLAIM: "realm_access.roles",
  };
  const expected = {
    issuer: "https://idp.example",
    audience: "tiles",
    accountClaim: "tenant",
    rolesClaim: "realm_access.roles",
  };
  const secret = "s".repeat(32);
  expect(readConfig({ ...rules, JWT_SECRET: secret }).jwt).toEqual({ ...expected, secret });
  expect(readConfig({ ...rules, JWT_JWKS_URL: "https://idp.example/jwks" }).jwt).toEqual({
    ...expected,
    jwksUrl: new URL("https://idp.example/jwks"),
  });
});

test.each([
  "redis://cache",
  "rediss://user:p%23ss@cache.example:6380/2",
  "redis://[::1]:6379/",
  "redis+sentinel://one.example,[::1]:26380/tiles?sentinel_password=x",
  "rediss+sentinel://:p%23ss@one.example/tiles/2",
  "rediss+cluster://user:p%23ss@one.example:7000,two.example",
])("REDIS_URL=%s is taken as it is", (url) => {
  expect(readConfig({ REDIS_URL: url }).redis).toEqual({ url });
  expect(readConfig({}).redis).toBeUndefined();
});

test("origins are kept as browsers write them", () => {
  const { corsOrigins } = readConfig({
    CORS_ORIGINS: "https://Maps.Example.com:443, http://localhost:3000/",
  }).server;
  expect(corsOrigins).toEqual(["https://maps.example.com", "http://localhost:3000"]);
});

test("who is behind a proxy is asked of those on loopback only, unless others are named", () => {
  expect(readConfig({}).server.trustedProxies).toEqual(["127.0.0.0/8", "::1"]);
  const named = { TRUSTED_PROXIES: "10.0.0.0/8, 2001:db8::7" };
  expect(readConfig(named).server.trustedProxies).toEqual(["10.0.0.0/8", "2001:db8::7"]);
  expect(problemsOf({ TRUSTED_PROXIES: "10.0.0.0/8,proxy.example" })).toEqual([
    "TRUSTED_PROXIES, item 2: must be an IP address or a range such as 10.0.0.0/8",
  ]);
});

test("paths of tiles are presets and templates, which are checked", () => {
  const of = (env: NodeJS.ProcessEnv) => readConfig(env).forwardAuth;
  expect(of({ TILE_PATHS: "pmtiles, /t/{table}/{z}/{x}/{y}.pbf" }).tilePaths).toEqual([
    "pmtiles",
    "/t/{table}/{z}/{x}/{y}.pbf",
  ]);
  const problem = "must be a preset or a template such as /t/{table}/{z}/{x}/{y}.pbf";
  expect(problemsOf({ TILE_PATHS: "martin,mapbox,/t/{z},t/{table}" })).toEqual([
    `TILE_PATHS, item 2: ${problem}`,
    `TILE_PATHS, item 3: ${problem}`,
    `TILE_PATHS, item 4: ${problem}`,
  ]);
});

test("with several accounts a template of a table needs its account, too: its name alone could be anybody's", () => {
  const multi = { TENANCY: "multi" };
  expect(
    problemsOf({ ...multi, TILE_PATHS: "martin,/t/{table}/{z}/{x}/{y},/r/{dataset}/{z}/{x}/{y}" }),
  ).toEqual(["TILE_PATHS, item 2: needs {account} beside the table, with TENANCY=multi"]);
  expect(problemsOf({ ...multi, TILE_PATHS: "/{account}/{table}/{z}/{x}/{y}" })).toEqual([]);
  expect(problemsOf(multi)).toEqual([]);
});

test("the header that tells the original URI, and the status of too many uses, are as the proxy needs them", () => {
  const env = { FORWARD_AUTH_URI_HEADER: "X-Original-URI", FORWARD_AUTH_RATE_LIMIT_STATUS: "403" };
  expect(readConfig(env).forwardAuth).toMatchObject({ uriHeader: "x-original-uri", rateLimitStatus: 403 });
  expect(problemsOf({ FORWARD_AUTH_URI_HEADER: "X_Uri", FORWARD_AUTH_RATE_LIMIT_STATUS: "500" })).toEqual([
    "FORWARD_AUTH_URI_HEADER: must be a header's name, such as X-Original-URI",
    "FORWARD_AUTH_RATE_LIMIT_STATUS: must be 403 or 429",
  ]);
});

test("tiles are in front of what TILE_BASE_URL says, which ends without a slash", () => {
  expect(readConfig({}).tokens.tileBaseUrl).toBeUndefined();
  for (const [given, kept] of [
    ["https://Tiles.example.com", "https://tiles.example.com"],
    ["https://tiles.example.com/", "https://tiles.example.com"],
    ["http://tiles.example.com:8080/maps//", "http://tiles.example.com:8080/maps"],
  ] as const) {
    expect(readConfig({ TILE_BASE_URL: given }).tokens.tileBaseUrl).toBe(kept);
  }
});
