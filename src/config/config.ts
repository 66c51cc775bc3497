import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { z } from "zod";
import type { JwtTrust } from "../jwt/jwt-verifier.js";
import { variables } from "./variables.js";

/** What the environment says, checked. docs/configuration.md describes the variables. */
export interface Config {
  readonly server: ServerConfig;
  readonly database: DatabaseConfig;
  /** Absent: replicas share nothing but the database. */
  readonly redis?: { readonly url: string };
  readonly secrets: SecretsSource;
  readonly tokens: TokensConfig;
  /** How old cached metadata may get. */
  readonly cacheTtlSeconds: number;
  /** Absent: JWTs are refused. */
  readonly jwt?: JwtTrust;
  /** Users with this role administrate their account. */
  readonly adminRole: string;
  /** Whether an empty database gets the demo catalog. */
  readonly seedDemo: boolean;
  /** Processes that share the port. More than one only with a PostgreSQL. */
  readonly workers: number;
  /** How long the service still serves once it was asked to stop, for load balancers to notice. */
  readonly shutdownDelaySeconds: number;
  readonly logLevel: Variables["LOG_LEVEL"];
}

export interface ServerConfig {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** PEM; the certificate may be followed by its chain. Absent: cleartext. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly corsOrigins: "*" | readonly string[];
  /** Of each process, at a time. */
  readonly maxConnections: number;
  readonly maxCalls: number;
}

export type DatabaseConfig =
  | { readonly kind: "embedded"; readonly dataDir: string }
  | { readonly kind: "postgres"; readonly url: string };

export interface TokensConfig {
  readonly ttlSeconds: number;
  /** At most ttlSeconds. */
  readonly minValiditySeconds: number;
  readonly tenancy: "single" | "multi";
}

export interface Secrets {
  /** Not empty. The first signs, all verify. */
  readonly signingKeys: readonly string[];
  /** Not empty, 32 bytes each. The first encrypts, all decrypt. */
  readonly encryptionKeys: readonly Uint8Array[];
  /** Absent: nobody is the operator. */
  readonly operatorToken?: string;
}

/** Where the secrets are: all given, or those that are not in files of the data directory (see ensureSecrets). */
export type SecretsSource =
  | { readonly kind: "given"; readonly given: Secrets }
  | { readonly kind: "data_dir"; readonly dataDir: string; readonly given: Partial<Secrets> };

/** The configuration can't be used. The message lists every problem, one a line, and quotes no value. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  constructor(readonly problems: readonly string[]) {
    super(["Invalid configuration:", ...problems.map((problem) => `  ${problem}`)].join("\n"));
  }
}

/** For clients to load what is on their screen. */
const DEFAULT_MIN_VALIDITY_SECONDS = 60;

/** A few rounds of a load balancer's checks, and well within the 30 s after which orchestrators kill. */
const DEFAULT_SHUTDOWN_DELAY_SECONDS = 5;

type Variables = z.output<typeof variables>;
type VariableName = keyof Variables;

interface Setting {
  /** What the user set: NAME or NAME_FILE. */
  readonly source: string;
  /** Absent when it can't be had. */
  readonly text?: string;
}

type Settings = Partial<Record<VariableName, Setting>>;

/**
 * @param readFile reads the files that NAME_FILE variables name.
 * @throws ConfigError with all problems.
 */
export function readConfig(
  env: NodeJS.ProcessEnv,
  readFile: (path: string) => string = (path) => readFileSync(path, "utf8"),
): Config {
  const problems: string[] = [];
  const settings = readSettings(env, readFile, problems);
  const texts = Object.entries(settings).map(([name, setting]) => [name, setting.text]);
  const parsed = variables.safeParse(Object.fromEntries(texts));
  for (const { path, message } of parsed.error?.issues ?? []) {
    const [name, index] = path;
    const source = Object.entries(settings).find(([key]) => key === name)?.[1].source;
    problems.push(`${source}${typeof index === "number" ? `, item ${index + 1}` : ""}: ${message}`);
  }
  problems.push(...conflicts(settings));
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);
  return freeze(toConfig(parsed.data));
}

function readSettings(
  env: NodeJS.ProcessEnv,
  readFile: (path: string) => string,
  problems: string[],
): Settings {
  const settings: Settings = {};
  for (const name of variables.keyof().options) {
    const value = env[name] || undefined;
    const fileName = `${name}_FILE`;
    const path = env[fileName] || undefined;
    if (path === undefined) {
      if (value !== undefined) settings[name] = { source: name, text: value };
      continue;
    }
    settings[name] = { source: fileName };
    if (value !== undefined) {
      problems.push(`${name} and ${fileName}: only one may be set`);
      continue;
    }
    try {
      const text = readFile(path).replace(/\r?\n$/, "");
      if (text === "") problems.push(`${fileName}: the file is empty`);
      else settings[name] = { source: fileName, text };
    } catch (error) {
      // Not the path: it may be the secret itself, by mistake.
      problems.push(`${fileName}: can't read the file (${errorCode(error)})`);
    }
  }
  return settings;
}

/** What is wrong between variables. Looks at what was set, so that a malformed one hides nothing here. */
function conflicts(settings: Settings): string[] {
  const problems: string[] = [];
  const {
    DATABASE_URL,
    TILE_SIGNING_KEYS,
    ENCRYPTION_KEYS,
    JWT_SECRET,
    JWT_JWKS_URL,
    TLS_CERT,
    TLS_KEY,
    WORKERS,
  } = settings;
  if (DATABASE_URL && !TILE_SIGNING_KEYS) problems.push("TILE_SIGNING_KEYS: required with DATABASE_URL");
  if (DATABASE_URL && !ENCRYPTION_KEYS) problems.push("ENCRYPTION_KEYS: required with DATABASE_URL");
  if (Number(WORKERS?.text) > 1 && !DATABASE_URL)
    problems.push(
      `${WORKERS?.source}: more than 1 needs DATABASE_URL, the embedded database has one process`,
    );
  if (JWT_SECRET && JWT_JWKS_URL)
    problems.push(`${JWT_SECRET.source} and ${JWT_JWKS_URL.source}: only one may be set`);
  if (TLS_CERT && !TLS_KEY) problems.push(`TLS_KEY_FILE: required with ${TLS_CERT.source}`);
  if (TLS_KEY && !TLS_CERT) problems.push(`TLS_CERT_FILE: required with ${TLS_KEY.source}`);
  if (TLS_CERT?.text && TLS_KEY?.text && !isPair(TLS_CERT.text, TLS_KEY.text))
    problems.push(`${TLS_CERT.source} and ${TLS_KEY.source}: the key is not the certificate's`);
  return problems;
}

function isPair(cert: string, key: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return true; // One of them is malformed, which is a problem of its own.
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}

function toConfig(values: Variables): Config {
  const { DATABASE_URL: url, DATA_DIR: dataDir } = values;
  const embedded = url === undefined;
  const jwt = toJwtTrust(values);
  return {
    server: {
      host: values.HOST ?? (embedded ? "127.0.0.1" : "0.0.0.0"),
      port: values.PORT,
      ...(values.TLS_CERT && values.TLS_KEY && { tls: { cert: values.TLS_CERT, key: values.TLS_KEY } }),
      corsOrigins: values.CORS_ORIGINS,
      maxConnections: values.MAX_CONNECTIONS,
      maxCalls: values.MAX_CALLS,
    },
    database: embedded ? { kind: "embedded", dataDir } : { kind: "postgres", url },
    ...(values.REDIS_URL !== undefined && { redis: { url: values.REDIS_URL } }),
    secrets: toSecretsSource(values),
    tokens: {
      ttlSeconds: values.TILE_TOKEN_TTL_SECONDS,
      minValiditySeconds:
        values.TILE_TOKEN_MIN_VALIDITY_SECONDS ??
        Math.min(DEFAULT_MIN_VALIDITY_SECONDS, values.TILE_TOKEN_TTL_SECONDS),
      tenancy: values.TENANCY,
    },
    cacheTtlSeconds: values.DATASET_CACHE_TTL_SECONDS,
    ...(jwt && { jwt }),
    adminRole: values.ADMIN_ROLE,
    seedDemo: values.SEED_DEMO ?? embedded,
    workers: values.WORKERS,
    shutdownDelaySeconds: values.SHUTDOWN_DELAY_SECONDS ?? (embedded ? 0 : DEFAULT_SHUTDOWN_DELAY_SECONDS),
    logLevel: values.LOG_LEVEL,
  };
}

function toSecretsSource(values: Variables): SecretsSource {
  const {
    TILE_SIGNING_KEYS: signingKeys,
    ENCRYPTION_KEYS: encryptionKeys,
    OPERATOR_TOKEN: operatorToken,
  } = values;
  const operator = operatorToken !== undefined && { operatorToken };
  // With a DATABASE_URL both rings are there: conflicts() has seen to it.
  if (values.DATABASE_URL === undefined || !signingKeys || !encryptionKeys) {
    const given = {
      ...(signingKeys && { signingKeys }),
      ...(encryptionKeys && { encryptionKeys }),
      ...operator,
    };
    return { kind: "data_dir", dataDir: values.DATA_DIR, given };
  }
  return { kind: "given", given: { signingKeys, encryptionKeys, ...operator } };
}

function toJwtTrust(values: Variables): JwtTrust | undefined {
  const { JWT_SECRET: secret, JWT_JWKS_URL: jwksUrl } = values;
  const rules = {
    issuer: values.JWT_ISSUER,
    audience: values.JWT_AUDIENCE,
    accountClaim: values.JWT_ACCOUNT_CLAIM,
    rolesClaim: values.JWT_ROLES_CLAIM,
  };
  if (secret !== undefined) return { ...rules, secret };
  return jwksUrl && { ...rules, jwksUrl };
}

/** Freezes plain objects and arrays, all the way down. */
function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype) {
    Object.values(Object.freeze(value)).forEach(freeze);
  }
  return value;
}
