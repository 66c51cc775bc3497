import { setTimeout as delay } from "node:timers/promises";
import { createRegistry } from "@bufbuild/protobuf";
import { createConnectRouter } from "@connectrpc/connect";
import { createAuthenticator } from "../domain/authentication/authenticator.js";
import type { JwtVerifier } from "../domain/authentication/jwt.js";
import { DomainError } from "../domain/errors.js";
import { createTileRequests } from "../domain/tile-requests/tile-requests.js";
import { createSigningKeyRing, type SigningKeyRing } from "../domain/tile-tokens/key-ring.js";
import { createTileTokens } from "../domain/tile-tokens/tile-tokens.js";
import { createVectorTiles } from "../domain/tile-tokens/tile-url.js";
import { createAnswerHeaders, SAME_ORIGIN } from "../front/answer-headers.js";
import { createAnswerMemos } from "../front/answer-memo.js";
import { isGone } from "../front/body.js";
import { type Call, createCalls } from "../front/call.js";
import { createCallReserves } from "../front/call-limits.js";
import { createCallers } from "../front/callers.js";
import { createClientAddresses } from "../front/client-address.js";
import { createCors } from "../front/cors.js";
import { createCallLog } from "../front/observe.js";
import { createOriginalRequests } from "../front/original-request.js";
import { isUnambiguous, NO_QUERY, pathOf, queryOf } from "../front/request-target.js";
import type { Target } from "../front/target.js";
import { Authorization } from "../gen/proto/envoy/service/auth/v3/external_auth_pb.js";
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
import { createForwardAuth, FORWARD_AUTH_PATH } from "../rest/forward-auth.js";
import { createGeoLensRoutes } from "../rest/geolens.js";
import { createHealthRoutes } from "../rest/health.js";
import { createMapTilerRoutes } from "../rest/maptiler.js";
import { HttpError, sendError } from "../rest/problem.js";
import type { RestRoute } from "../rest/route.js";
import { createRestRouter } from "../rest/router.js";
import { createTileJsonRoutes } from "../rest/tilejson.js";
import { createWellKnownRoutes } from "../rest/well-known.js";
import { createAccountService } from "../rpc/account-service.js";
import { createRpcAdapter } from "../rpc/adapter.js";
import { createApiKeyService } from "../rpc/api-key-service.js";
import { createAuthorizationService } from "../rpc/authorization-service.js";
import { acceptCompression } from "../rpc/compression.js";
import { createDatasetService } from "../rpc/dataset-service.js";
import { MAX_DEADLINE_MS } from "../rpc/deadline.js";
import { createErrorInterceptor } from "../rpc/errors.js";
import { validationInterceptor } from "../rpc/interceptors.js";
import { MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, RPC_METHODS, type RpcMethod, SERVICES } from "../rpc/methods.js";
import { createTileAuthorization } from "../rpc/tile-authorization.js";
import { createTileTokenService } from "../rpc/tile-token-service.js";
import { createCheck } from "../rpc/unary/check.js";
import { createBatchGetTileTokens, createGetTileToken } from "../rpc/unary/tile-tokens.js";
import { createUnary } from "../rpc/unary/unary.js";
import { createVerifyApiKey } from "../rpc/unary/verify-api-key.js";
import { isRpcPath, refuseUnknownRpc } from "../rpc/unknown-rpc.js";
import { createIdReader } from "../schema/id-reader.js";
import { compileRules } from "../schema/validate.js";
import { createHealth, WATCHES } from "../server/health.js";
import {
  type HttpHandler,
  type HttpRequest,
  hasUsableAuthority,
  setHeaders,
} from "../server/http-handler.js";
import type { CallClass } from "../server/limits.js";
import { createReflection, REFLECTIONS } from "../server/reflection.js";
import { discardBody } from "../server/unread-body.js";
import type { Backend } from "./backend.js";

/** Everything but the port: a request handler, and what decides whether it should get requests. */
export interface App {
  readonly handler: HttpHandler;
  /** The same by the framework alone: the reference of the hot RPCs' codecs. */
  readonly plainHandler: HttpHandler;
  /** How many calls the codecs have answered. */
  hotAnswers(): number;
  /** How many times credentials were resolved. */
  authentications(): number;
  /** All that is served, as data. */
  readonly rpcMethods: readonly RpcMethod[];
  readonly restRoutes: readonly RestRoute[];
  /** What signs and verifies tile tokens. Its keys may be replaced. */
  readonly keyRing: SigningKeyRing;
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

const rpcPathOf = ({ method }: RpcMethod): string => `/${method.parent.typeName}/${method.name}`;

/** A step takes up to 50 ms, and the first probes must not wait for several. */
const BETWEEN_STEPS_MS = 50;

export function createApp({ config, secrets, database, stores, useCases, log, clock }: Backend): App {
  const keyRing = createSigningKeyRing(config.tokens.signingAlgorithm, {
    hmac: secrets.signingKeys,
    ed25519: secrets.ed25519Keys ?? [],
  });
  const generation = () => stores.generation() + keyRing.generation();
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
    scopes: stores.scopes,
    keyRing,
    lifetime: config.tokens,
    generation,
    clock,
  });

  const addresses = createClientAddresses(config.server.trustedProxies);

  let serving = false;
  const health = createHealth({ services: SERVICES.map(({ typeName }) => typeName) });
  const notReady = async () => {
    if (!serving) return ["shutting down or not yet started"];
    return database.ping().then(
      () => [],
      () => ["the database can't be reached"],
    );
  };

  const idReader = createIdReader();
  const createAnswers = createAnswerMemos({ generation });
  const headersFor = createAnswerHeaders(config.server.corsOrigins);
  const restRoutes = [
    ...createGeoLensRoutes({ tileTokens, idReader, answers: createAnswers(), clock }),
    ...createMapTilerRoutes(useCases.apiKeys),
    ...createWellKnownRoutes({ keyRing, datasets: useCases.datasets, generation, clock }),
    ...createTileJsonRoutes({
      ...{ tileTokens, datasets: stores.datasets, addresses },
      vectorTiles: createVectorTiles(config.forwardAuth.tilePaths, config.tokens.tenancy),
      tileBaseUrl: config.tokens.tileBaseUrl,
    }),
    ...createHealthRoutes(notReady, () => stores.degraded()),
  ];
  const rest = createRestRouter({ routes: restRoutes, headersFor, log });

  const tileRequests = createTileRequests({
    ...{ generation, clock },
    tileTokens,
    datasets: stores.datasets,
    scopes: stores.scopes,
    tilePaths: config.forwardAuth.tilePaths,
  });
  const callers = createCallers({ authenticator, generation, clock });

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
  const interceptors = [createErrorInterceptor(log), validationInterceptor];
  router.service(TileTokenService, createTileTokenService(tileTokens, useCases.datasets), {
    interceptors,
  });
  router.service(ApiKeyService, createApiKeyService(useCases.apiKeys, useCases.apiKeyVerification), {
    interceptors,
  });
  router.service(AccountService, createAccountService(useCases.accounts), { interceptors });
  router.service(DatasetService, createDatasetService(useCases.datasets), {
    interceptors,
    readMaxBytes: MAX_BATCH_BYTES,
  });
  const authorization = createTileAuthorization({
    ...{ tileRequests, callers, clock, log },
    cors: createCors({ origins: config.server.corsOrigins, common: [] }),
  });
  router.service(Authorization, createAuthorizationService(authorization), { interceptors });
  health.register(router);
  const framework = createRpcAdapter(router.handlers, log);
  const hot = createUnary({
    rpcs: [
      createGetTileToken(tileTokens, idReader),
      createBatchGetTileTokens(tileTokens, idReader),
      createVerifyApiKey(useCases.apiKeyVerification),
      createCheck(authorization),
    ],
    createAnswers,
    framework,
    clock,
  });
  const reflection = createReflection([...SERVICES, Health]);

  const others = (door: "rpc" | "rest", name: string, answer: Target["answer"]): Target => ({
    kind: { door, name, headers: headersFor(SAME_ORIGIN) },
    answer,
  });
  const malformed = others("rest", "malformed", refuseTarget);
  const unknownRpc = others("rpc", "unknown", refuseUnknownRpc);
  const reflections = reflection.paths.map((path) => {
    const target = others("rpc", path.slice(1), (call) => {
      setHeaders(call.response, call.headers);
      call.note("ok");
      reflection.answer(call.request, call.response);
    });
    return [path, target] as const;
  });

  const forwardAuth = createForwardAuth({
    tileRequests,
    readOriginal: createOriginalRequests({ addresses, uriHeader: config.forwardAuth.uriHeader }),
    rateLimitStatus: config.forwardAuth.rateLimitStatus,
    corsOrigins: config.server.corsOrigins,
    log,
  });
  const restTarget = (request: HttpRequest, path: string): Target =>
    path === FORWARD_AUTH_PATH ? forwardAuth(request) : rest(request.method, path);

  const begin = createCalls({
    callers,
    addresses,
    generation,
    ...createCallReserves(config.server.maxCalls),
    observe: createCallLog(log),
    clock,
  });

  function createHandler(answer: (call: Call, rpc: RpcMethod) => void): HttpHandler {
    const rpcs = new Map<string, Target>([
      ...reflections,
      ...RPC_METHODS.map((rpc) => {
        const kind = { door: "rpc", name: rpc.name, headers: headersFor(rpc.policy) } as const;
        const target: Target = {
          kind,
          answer(call) {
            if (rpc.isForProxies && !addresses.isFromProxy(call.request)) {
              framework.refuse(call, rpc, notAProxy());
            } else answer(call, rpc);
          },
        };
        return [rpcPathOf(rpc), target] as const;
      }),
    ]);

    return (request, response, exchange) => {
      if (isGone(request)) return;
      const path = pathOf(request);
      const rpc = rpcs.get(path) ?? (isRpcPath(path) ? unknownRpc : undefined);
      const isSound = isUnambiguous(request) && (rpc === undefined || hasUsableAuthority(request));
      const target = isSound ? (rpc ?? restTarget(request, path)) : malformed;
      const query = target.query ?? (rpc === undefined ? queryOf(request) : NO_QUERY);
      const call = begin(request, response, exchange, target.kind, query);
      if (target.kind.headers.isPreflight(request)) allow(call);
      else target.answer(call);
    };
  }

  return {
    handler: createHandler(hot.answer),
    plainHandler: createHandler(framework.answer),
    hotAnswers: hot.answered,
    authentications: callers.resolved,
    keyRing,
    rpcMethods: RPC_METHODS,
    restRoutes,
    callClasses: new Map([
      [`/${Health.typeName}/${Health.method.watch.name}`, WATCHES],
      ...reflection.paths.map((path) => [path, REFLECTIONS] as const),
    ]),
    async prepare(stop) {
      for (const { input } of SERVICES.flatMap(({ methods }) => methods)) {
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

/** Answers a preflight: its headers say it all. */
function allow(call: Call): void {
  const { response, headers } = call;
  call.note("204");
  setHeaders(response, headers);
  response.writeHead(204);
  response.end();
}

const notAProxy = () =>
  new DomainError(
    "permission_denied",
    "NOT_A_TRUSTED_PROXY",
    "only proxies that TRUSTED_PROXIES names may ask",
  );

function refuseTarget(call: Call): void {
  discardBody(call.request, call.response);
  sendError(call, new HttpError(400, "The request target or its host is malformed"));
}

/** Loads its library only where JWTs are accepted, and not before the service is up. */
function loadJwtVerifier(options: JwtVerifierOptions): JwtVerifier {
  const loading = import("../jwt/jwt-verifier.js").then(({ createJwtVerifier }) =>
    createJwtVerifier(options),
  );
  return { verify: async (token) => (await loading).verify(token) };
}
