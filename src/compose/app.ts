import { setTimeout as delay } from "node:timers/promises";
import { createRegistry, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { createConnectRouter } from "@connectrpc/connect";
import { createAuthenticator } from "../domain/authentication/authenticator.js";
import type { JwtVerifier } from "../domain/authentication/jwt.js";
import { createSigningKeyRing } from "../domain/tile-tokens/key-ring.js";
import { createTileTokens } from "../domain/tile-tokens/tile-tokens.js";
import { createBatchCall, createGeoLensCall } from "../fast-path/batch-call.js";
import { createFastPath } from "../fast-path/fast-path.js";
import { createSingleCall } from "../fast-path/single-call.js";
import { createVerifyCall } from "../fast-path/verify-call.js";
import { isGone } from "../front/body.js";
import { type Call, createCalls } from "../front/call.js";
import { createCallers } from "../front/callers.js";
import { createCors } from "../front/cors.js";
import { isUnambiguous } from "../front/request-target.js";
import { createReserve } from "../front/reserve.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../gen/proto/google/rpc/error_details_pb.js";
import { Health } from "../gen/proto/grpc/health/v1/health_pb.js";
import { AccountService } from "../gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetService } from "../gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";
import type { JwtVerifierOptions } from "../jwt/jwt-verifier.js";
import { createGeoLensRoutes, GEOLENS_BATCH_PATHS } from "../rest/geolens.js";
import { createHealthRoutes } from "../rest/health.js";
import { createMapTilerRoutes } from "../rest/maptiler.js";
import { HttpError, sendError } from "../rest/problem.js";
import { createRestHandler } from "../rest/router.js";
import { createAccountService } from "../rpc/account-service.js";
import { createRpcAdapter } from "../rpc/adapter.js";
import { MAX_BATCH_BYTES, MAX_MESSAGE_BYTES } from "../rpc/admission.js";
import { createApiKeyService } from "../rpc/api-key-service.js";
import { acceptCompression } from "../rpc/compression.js";
import { createDatasetService } from "../rpc/dataset-service.js";
import { MAX_DEADLINE_MS } from "../rpc/deadline.js";
import { createErrorInterceptor } from "../rpc/errors.js";
import { createLogInterceptor, validationInterceptor } from "../rpc/interceptors.js";
import { createTileTokenService } from "../rpc/tile-token-service.js";
import { refuseUnknownRpc } from "../rpc/unknown-rpc.js";
import { compileRules } from "../schema/validate.js";
import { createHealth } from "../server/health.js";
import {
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  hasUsableAuthority,
  setHeaders,
} from "../server/http-handler.js";
import type { CallClass } from "../server/limits.js";
import { createReflection } from "../server/reflection.js";
import { discardBody } from "../server/unread-body.js";
import type { Backend } from "./backend.js";

/** Everything but the port: a request handler, and what decides whether it should get requests. */
export interface App {
  readonly handler: HttpHandler;
  /** The same without the fast path: its reference. */
  readonly plainHandler: HttpHandler;
  /** The calls that are more than a question and an answer, by path. */
  readonly callClasses: ReadonlyMap<string, CallClass>;
  /**
   * Makes what the first calls would else wait for, in steps between which calls are answered. Takes a second or two, or until
   * it is stopped.
   */
  prepare(stop: AbortSignal): Promise<void>;
  /** Whether probes are told that the service is ready, as long as its dependencies are. */
  setServing(serving: boolean): void;
  /** Not serving for good: streams that would hold up a shutdown end. */
  shutdown(): void;
}

const rpcPathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;

const services: DescService[] = [TileTokenService, ApiKeyService, DatasetService, AccountService];

/**
 * Of the calls that may be open, so many may wait for something besides their client: for a body, a look-up, the database.
 * A quarter of them is kept for those who show a credential.
 */
const placesOf = (maxCalls: number) => ({
  total: Math.ceil(maxCalls / 2),
  forStrangers: Math.floor((maxCalls / 2) * 0.75),
});

/** One for each balancer's connection, and a few to spare. A watcher takes 50 kB for as long as it likes. */
const WATCHES: CallClass = { maxCalls: 256, maxCallsPerConnection: 4, isEndless: true };

/** For people at a debugger. */
const REFLECTIONS: CallClass = { maxCalls: 16, maxCallsPerConnection: 2, isEndless: false };

/** For bodies, as received and inflated: 11 of the largest at a time, and for strangers 256 of theirs. */
const BODY_BYTES = { total: 48 * 1024 * 1024, forStrangers: 16 * 1024 * 1024 };

/** A step takes up to 50 ms, and the first probes must not wait for several. */
const BETWEEN_STEPS_MS = 50;

export function createApp({ config, secrets, database, stores, useCases, log, clock }: Backend): App {
  const authenticator = createAuthenticator({
    operatorToken: secrets.operatorToken,
    jwtVerifier: config.jwt && loadJwtVerifier({ ...config.jwt, clock }),
    adminRole: config.adminRole,
    accounts: stores.accounts,
    serviceTokens: stores.serviceTokens,
    apiKeys: useCases.apiKeyVerification,
    clock,
  });
  const tileTokens = createTileTokens({
    datasets: stores.datasets,
    keyRing: createSigningKeyRing(secrets.signingKeys),
    lifetime: config.tokens,
    clock,
  });

  let serving = false;
  const health = createHealth({ services: services.map(({ typeName }) => typeName) });
  const notReady = async () => {
    if (!serving) return ["shutting down or not yet started"];
    return database.ping().then(
      () => [],
      () => ["the database can't be reached"],
    );
  };

  const rest = createRestHandler({
    routes: [
      ...createGeoLensRoutes(tileTokens),
      ...createMapTilerRoutes(useCases.apiKeys),
      ...createHealthRoutes(notReady, () => stores.degraded()),
    ],
    log,
  });

  const router = createConnectRouter({
    acceptCompression,
    readMaxBytes: MAX_MESSAGE_BYTES,
    maxTimeoutMs: MAX_DEADLINE_MS,
    jsonOptions: {
      // A misspelt restriction that is silently dropped would leave open what it was to close.
      ignoreUnknownFields: false,
      // Error details are Any messages, which JSON writes by their type.
      registry: createRegistry(BadRequestSchema, ErrorInfoSchema, RetryInfoSchema),
    },
  });
  // The first interceptor is the outermost. Who calls was decided before.
  const interceptors = [createLogInterceptor(log), createErrorInterceptor(log), validationInterceptor];
  router.service(TileTokenService, createTileTokenService(tileTokens), { interceptors });
  router.service(ApiKeyService, createApiKeyService(useCases.apiKeys, useCases.apiKeyVerification), {
    interceptors,
  });
  router.service(AccountService, createAccountService(useCases.accounts), { interceptors });
  router.service(DatasetService, createDatasetService(useCases.datasets), {
    interceptors,
    readMaxBytes: MAX_BATCH_BYTES,
  });
  health.register(router);
  const rpcs = createRpcAdapter(router.handlers, log);
  const reflection = createReflection([...services, Health]);

  const cors = createCors({ origins: config.server.corsOrigins, common: COMMON_HEADERS });
  const isCrossOrigin = ({ url = "" }: HttpRequest) =>
    config.server.corsOrigins !== "*" || TOKEN_ROUTES.test(url);
  const headersOf = (request: HttpRequest) =>
    isCrossOrigin(request) ? cors.headersOf(request) : COMMON_HEADERS;

  const { generation } = stores;
  const begin = createCalls({
    callers: createCallers({ authenticator, generation, clock }),
    generation,
    places: createReserve(placesOf(config.server.maxCalls)),
    bytes: createReserve(BODY_BYTES),
    clock,
  });

  function answerPlainly(call: Call): void {
    const { request, response } = call;
    setHeaders(response, headersOf(request));
    const path = pathOf(request);
    if (isCrossOrigin(request) && cors.isPreflight(request)) {
      response.writeHead(204);
      response.end();
    } else if (reflection.paths.includes(path)) {
      reflection.answer(request, response);
    } else if (rpcs.has(path)) {
      if (hasUsableAuthority(request)) rpcs.answer(call, path);
      else refuseTarget(request, response);
    } else if (!refuseUnknownRpc(request, response)) {
      void rest(call, urlOf(request));
    }
  }

  const geoLensCall = createGeoLensCall({ tileTokens, generation });
  const answerFast = createFastPath({
    rpcs: new Map([
      [rpcPathOf(TileTokenService.method.getTileToken), createSingleCall(tileTokens)],
      [rpcPathOf(TileTokenService.method.batchGetTileTokens), createBatchCall({ tileTokens, generation })],
      [rpcPathOf(ApiKeyService.method.verifyApiKey), createVerifyCall(useCases.apiKeyVerification)],
    ]),
    rest: new Map(GEOLENS_BATCH_PATHS.map((path) => [path, geoLensCall])),
    generation,
    headersOf,
    clock,
    log,
    plain: answerPlainly,
  });

  const createHandler =
    (answer: (call: Call) => void): HttpHandler =>
    (request, response) => {
      if (isGone(request)) return;
      if (!isUnambiguous(request)) return refuseTarget(request, response);
      // Of an RPC no credential is in the URL: there it would be logged.
      const query =
        request.url?.includes("?") && !rpcs.has(pathOf(request)) ? urlOf(request).searchParams : undefined;
      answer(begin(request, response, query));
    };
  return {
    handler: createHandler(answerFast),
    plainHandler: createHandler(answerPlainly),
    callClasses: new Map([
      [rpcPathOf(Health.method.watch), WATCHES],
      ...reflection.paths.map((path) => [path, REFLECTIONS] as const),
    ]),
    async prepare(stop) {
      for (const { input } of services.flatMap(({ methods }) => methods)) {
        await delay(BETWEEN_STEPS_MS);
        if (stop.aborted) return;
        compileRules(input);
      }
    },
    setServing(value) {
      serving = value;
      health.setServing(value);
    },
    shutdown() {
      serving = false;
      health.shutdown();
    },
  };
}

/** Answers depend on credentials, and error statuses of GET are cacheable unless told otherwise. */
const COMMON_HEADERS = ["cache-control", "private, no-store", "x-content-type-options", "nosniff"];

function refuseTarget(request: HttpRequest, response: HttpResponse): void {
  discardBody(request, response);
  setHeaders(response, COMMON_HEADERS);
  sendError(response, new HttpError(400, "The request target or its host is malformed"));
}

const pathOf = ({ url = "" }: HttpRequest): string => url.split("?", 1)[0] ?? "";

/** Of an unambiguous target, which always parses. */
const urlOf = ({ url = "" }: HttpRequest): URL => new URL(`http://tilegate${url}`);

/** What pages of any origin may call unless CORS_ORIGINS says otherwise: issuing tokens, not managing. */
const TOKEN_ROUTES = /^\/(?:tilegate\.v1\.TileTokenService\/|(?:api\/)?tiles\/tokens?(?:[/?]|$))/;

/** Loads its library only where JWTs are accepted, and not before the service is up. */
function loadJwtVerifier(options: JwtVerifierOptions): JwtVerifier {
  const loading = import("../jwt/jwt-verifier.js").then(({ createJwtVerifier }) =>
    createJwtVerifier(options),
  );
  return { verify: async (token) => (await loading).verify(token) };
}
