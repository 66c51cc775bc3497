import { createRegistry, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { createContextValues } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Backend } from "./backend.js";
import { createAuthenticator } from "./domain/identity/authenticator.js";
import type { JwtVerifier } from "./domain/identity/jwt.js";
import type { Caller } from "./domain/identity/principal.js";
import { createSigningKeyRing } from "./domain/tokens/signature.js";
import { createTileTokens } from "./domain/tokens/tile-tokens.js";
import { createBatchCall, createGeoLensCall } from "./fast-path/batch-call.js";
import { createFastPath } from "./fast-path/fast-path.js";
import { createSingleCall } from "./fast-path/single-call.js";
import { createVerifyCall } from "./fast-path/verify-call.js";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/proto/google/rpc/error_details_pb.js";
import { Health } from "./gen/proto/grpc/health/v1/health_pb.js";
import { AccountService } from "./gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "./gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetService } from "./gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "./gen/proto/tilegate/v1/tile_token_service_pb.js";
import type { JwtVerifierOptions } from "./identity/jwt-verifier.js";
import { createGeoLensRoutes, GEOLENS_BATCH_PATHS } from "./rest/geolens.js";
import { createHealthRoutes } from "./rest/health.js";
import { createMapTilerRoutes } from "./rest/maptiler.js";
import { createRestHandler } from "./rest/router.js";
import { createAccountService } from "./rpc/account-service.js";
import { createApiKeyService } from "./rpc/api-key-service.js";
import { acceptCompression } from "./rpc/compression.js";
import { createDatasetService } from "./rpc/dataset-service.js";
import { correctEarlyRefusals } from "./rpc/early-refusals.js";
import { createErrorInterceptor } from "./rpc/errors.js";
import {
  createAuthenticationInterceptor,
  createLogInterceptor,
  resolvedCallerKey,
  validationInterceptor,
} from "./rpc/interceptors.js";
import { createTileTokenService } from "./rpc/tile-token-service.js";
import { refuseUnknownRpc } from "./rpc/unknown-rpc.js";
import { createCors } from "./server/cors.js";
import { createHealth } from "./server/health.js";
import { type HttpHandler, type HttpRequest, setHeaders } from "./server/http-handler.js";
import { registerReflection } from "./server/reflection.js";

/** Everything but the port: a request handler, and what decides whether it should get requests. */
export interface App {
  readonly handler: HttpHandler;
  /** The same without the fast path: its reference. */
  readonly plainHandler: HttpHandler;
  /** Whether probes are told that the service is ready, as long as its dependencies are. */
  setServing(serving: boolean): void;
  /** Not serving for good: streams that would hold up a shutdown end. */
  shutdown(): void;
}

const services: DescService[] = [TileTokenService, ApiKeyService, DatasetService, AccountService];

/** A batch of 10,000 ids must be refused for its number, not its size; 500 datasets with their readers must fit. */
const RPC_MAX_BYTES = 1024 * 1024;
const DATASETS_MAX_BYTES = 4 * RPC_MAX_BYTES;

/** No call takes longer; clients' own deadlines may be shorter. */
const RPC_MAX_TIMEOUT_MS = 30_000;

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

  const resolved = new WeakMap<HttpRequest, Caller>();
  const rest = createRestHandler({
    routes: [
      ...createGeoLensRoutes(tileTokens),
      ...createMapTilerRoutes(useCases.apiKeys),
      ...createHealthRoutes(notReady, () => stores.degraded()),
    ],
    authenticator,
    resolvedCaller: (request) => resolved.get(request),
    log,
  });

  const connect = connectNodeAdapter({
    routes(router) {
      // The first interceptor is the outermost: a stranger is refused before validation.
      const interceptors = [
        createLogInterceptor(log),
        createErrorInterceptor(log),
        createAuthenticationInterceptor(authenticator),
        validationInterceptor,
      ];
      router.service(TileTokenService, createTileTokenService(tileTokens), { interceptors });
      router.service(ApiKeyService, createApiKeyService(useCases.apiKeys, useCases.apiKeyVerification), {
        interceptors,
      });
      router.service(AccountService, createAccountService(useCases.accounts), { interceptors });
      router.service(DatasetService, createDatasetService(useCases.datasets), {
        interceptors,
        readMaxBytes: DATASETS_MAX_BYTES,
      });
      health.register(router);
      registerReflection(router, [...services, Health]);
      correctEarlyRefusals(router);
    },
    contextValues: (request) => createContextValues().set(resolvedCallerKey, resolved.get(request)),
    readMaxBytes: RPC_MAX_BYTES,
    acceptCompression,
    maxTimeoutMs: RPC_MAX_TIMEOUT_MS,
    jsonOptions: {
      // A misspelt restriction that is silently dropped would leave open what it was to close.
      ignoreUnknownFields: false,
      // Error details are Any messages, which JSON writes by their type.
      registry: createRegistry(ErrorInfoSchema, RetryInfoSchema, ViolationsSchema),
    },
    fallback: (request, response) => {
      if (!refuseUnknownRpc(request, response)) void rest(request, response);
    },
  });

  const cors = createCors({ origins: config.server.corsOrigins, common: COMMON_HEADERS });
  const isCrossOrigin = ({ url = "" }: HttpRequest) =>
    config.server.corsOrigins !== "*" || TOKEN_ROUTES.test(url);
  const headersOf = (request: HttpRequest) =>
    isCrossOrigin(request) ? cors.headersOf(request) : COMMON_HEADERS;
  const plainHandler: HttpHandler = (request, response) => {
    setHeaders(response, headersOf(request));
    if (isCrossOrigin(request) && cors.isPreflight(request)) {
      response.writeHead(204);
      response.end();
    } else {
      connect(request, response);
    }
  };
  const { generation } = stores;
  const geoLensCall = createGeoLensCall({ tileTokens, generation });
  const handler = createFastPath({
    rpcs: new Map([
      [pathOf(TileTokenService.method.getTileToken), createSingleCall(tileTokens)],
      [pathOf(TileTokenService.method.batchGetTileTokens), createBatchCall({ tileTokens, generation })],
      [pathOf(ApiKeyService.method.verifyApiKey), createVerifyCall(useCases.apiKeyVerification)],
    ]),
    rest: new Map(GEOLENS_BATCH_PATHS.map((path) => [path, geoLensCall])),
    authenticator,
    generation,
    headersOf,
    clock,
    log,
    plain: plainHandler,
    resolved,
  });
  return {
    handler,
    plainHandler,
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

const pathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;

/** What pages of any origin may call unless CORS_ORIGINS says otherwise: issuing tokens, not managing. */
const TOKEN_ROUTES = /^\/(?:tilegate\.v1\.TileTokenService\/|(?:api\/)?tiles\/tokens?(?:[/?]|$))/;

/** Loads its library only where JWTs are accepted, and not before the service is up. */
function loadJwtVerifier(options: JwtVerifierOptions): JwtVerifier {
  const loading = import("./identity/jwt-verifier.js").then(({ createJwtVerifier }) =>
    createJwtVerifier(options),
  );
  return { verify: async (token) => (await loading).verify(token) };
}
