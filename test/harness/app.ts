import { Writable } from "node:stream";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { SignJWT } from "jose";
import pino from "pino";
import { type App, createApp } from "../../src/compose/app.js";
import { openBackend, type UseCases } from "../../src/compose/backend.js";
import { readConfig } from "../../src/config/config.js";
import type { Clock } from "../../src/domain/clock.js";
import { startServer } from "../../src/server/server.js";
import { createDataDirectory, temporaryDirectory } from "./data-directory.js";
import { createTestDatabase, postgresUrl } from "./postgres.js";

export const OPERATOR_TOKEN = "operator-token-for-tests";
export const JWT_SECRET = "jwt-secret-for-tests-of-32-bytes!";
export const SIGNING_KEY = "tilegate-test-secret";
export const ENCRYPTION_KEY = Buffer.alloc(32, "encryption key").toString("base64");

/** Fixed, so that signatures are too: 100 s after the beginning of a window of 900 s. */
export const NOW = new Date(1_800_000_100_000);

export type Headers = Record<string, string>;

export interface TestApp extends AsyncDisposable {
  readonly url: string;
  /** The same by the framework alone. */
  readonly plainUrl: string;
  readonly useCases: UseCases;
  readonly service: App;
  /** Everything that was logged, at the finest level. */
  readonly log: string[];
  /** The service's time. Assign to it to let time pass. */
  now: Date;
  /** Connect JSON over HTTP/1.1 by default. */
  client<Service extends DescService>(
    service: Service,
    headers?: Headers,
    protocol?: Protocol,
  ): Client<Service>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** A user's Authorization header. */
  user(claims: { sub: string; account?: string; roles?: readonly string[] }): Promise<Headers>;
}

/** "connect-get" sends RPCs without side effects with GET, "grpc-web" with fetch, as browsers do. */
export const PROTOCOLS = ["connect-json", "connect-binary", "connect-get", "grpc", "grpc-web"] as const;

export type Protocol = (typeof PROTOCOLS)[number];

export const operator: Headers = { authorization: `Bearer ${OPERATOR_TOKEN}` };

/**
 * The whole service in this process, over a database of its own unless `env` names another: on PostgreSQL where there
 * is one, which takes half the time of the embedded database.
 */
export async function startTestApp(env: Record<string, string> = {}): Promise<TestApp> {
  if (env.DATABASE_URL === undefined && postgresUrl() === undefined) return startEmbeddedTestApp(env);
  const directory = await temporaryDirectory();
  const database = env.DATABASE_URL === undefined ? await createTestDatabase() : undefined;
  const ofPostgres = { DATABASE_URL: database?.url, ENCRYPTION_KEYS: ENCRYPTION_KEY };
  return start({ DATA_DIR: directory.path, ...ofPostgres, ...env }, database, directory);
}

/** The same over an embedded database of its own. */
export async function startEmbeddedTestApp(env: Record<string, string> = {}): Promise<TestApp> {
  const directory = await createDataDirectory();
  return start({ DATA_DIR: directory.path, ...env }, directory);
}

/** @param resources are disposed of after it. */
async function start(
  env: Record<string, string | undefined>,
  ...resources: (AsyncDisposable | undefined)[]
): Promise<TestApp> {
  const config = readConfig({ OPERATOR_TOKEN, JWT_SECRET, TILE_SIGNING_KEYS: SIGNING_KEY, ...env });
  const log: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      log.push(String(chunk));
      done();
    },
  });
  const app: { now: Date } = { now: NOW };
  const clock: Clock = () => app.now;
  const backend = await openBackend({ config, clock, log: pino({ level: "trace" }, sink) });
  const service = createApp(backend);
  const { handler, plainHandler, callClasses: classes, setServing, shutdown } = service;
  const { tls, maxConnections, maxCalls } = config.server;
  const common = { host: "127.0.0.1", port: 0, limits: { maxConnections, maxCalls }, classes };
  const server = await startServer({ ...common, tls, handler });
  const plainServer = await startServer({ ...common, handler: plainHandler });
  setServing(true);

  return Object.assign(app, {
    service,
    url: server.url,
    plainUrl: plainServer.url,
    useCases: backend.useCases,
    log,
    client<Service extends DescService>(
      service: Service,
      headers: Headers = {},
      protocol: Protocol = "connect-json",
    ) {
      return createClient(service, createTransport(protocol, server.url, [withHeaders(headers)]));
    },
    fetch: (path: string, init?: RequestInit) => fetch(server.url + path, init),
    async user({ sub, account, roles = [] }: { sub: string; account?: string; roles?: readonly string[] }) {
      const jwt = await new SignJWT({ account, roles: [...roles] })
        .setProtectedHeader({ alg: "HS256" })
        .setSubject(sub)
        .setExpirationTime(new Date(app.now.getTime() + 3_600_000))
        .sign(new TextEncoder().encode(JWT_SECRET));
      return { authorization: `Bearer ${jwt}` };
    },
    async [Symbol.asyncDispose]() {
      shutdown();
      await server[Symbol.asyncDispose]();
      await plainServer[Symbol.asyncDispose]();
      await backend[Symbol.asyncDispose]();
      for (const resource of resources) await resource?.[Symbol.asyncDispose]();
    },
  });
}

function createTransport(protocol: Protocol, baseUrl: string, interceptors: Interceptor[]): Transport {
  if (protocol === "grpc") return createGrpcTransport({ baseUrl, interceptors });
  if (protocol === "grpc-web") return createGrpcWebTransport({ baseUrl, interceptors });
  return createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    interceptors,
    useBinaryFormat: protocol === "connect-binary",
    useHttpGet: protocol === "connect-get",
  });
}

const withHeaders =
  (headers: Headers): Interceptor =>
  (next) =>
  (request) => {
    for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
    return next(request);
  };

/** A dataset's required fields, for tests that care about the others. */
export const aVectorDataset = {
  kind: "vector",
  title: "",
  visibility: "public",
  status: "published",
  readerRoles: [],
  readerSubjects: [],
} as const;
