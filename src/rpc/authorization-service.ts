import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { Clock } from "../domain/clock.js";
import { DomainError } from "../domain/errors.js";
import { canonicalIp } from "../domain/ip-ranges.js";
import type {
  GrantedTiles,
  RefusedTiles,
  TileRequests,
  TilesVerdict,
} from "../domain/tile-requests/tile-requests.js";
import type { Callers } from "../front/callers.js";
import type { ClientAddresses } from "../front/client-address.js";
import type { Cors } from "../front/cors.js";
import { readCredentials } from "../front/credentials.js";
import { isAlias, isReading } from "../front/original-request.js";
import { NO_QUERY } from "../front/request-target.js";
import { grantHeaders, refusalBody, refusalHeaders, refusalStatus } from "../front/tile-answers.js";
import {
  type AttributeContext_HttpRequest,
  type Authorization,
  type CheckResponseSchema,
  HeaderValueOption_HeaderAppendAction,
  type HeaderValueOptionSchema,
} from "../gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import type { HeaderList } from "../server/http-handler.js";
import { callKey } from "./interceptors.js";

export interface AuthorizationServiceOptions {
  readonly tileRequests: TileRequests;
  readonly callers: Pick<Callers, "peek" | "resolve">;
  readonly addresses: Pick<ClientAddresses, "isFromProxy">;
  /** Of refusals, which Envoy hands on to the page. */
  readonly cors: Cors;
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn">;
}

type CheckResponseInit = MessageInitShape<typeof CheckResponseSchema>;

/** What Envoy joins of several headers of one name: then which of them would count could be told in two ways. */
const CREDENTIALS = ["authorization", "x-api-key", "origin"];

/** Never seen by the tile server, its log or its cache. */
const SPENT_PARAMETERS = ["sig", "exp", "scope", "key"];
const SPENT_HEADERS = ["x-api-key"];

const malformed = (detail: string): RefusedTiles => ({ granted: false, reason: "malformed", detail });

/** Envoy's ext_authz: the rule of forward auth, asked over gRPC. */
export function createAuthorizationService(
  options: AuthorizationServiceOptions,
): ServiceImpl<typeof Authorization> {
  const { tileRequests, callers, addresses, cors, clock, log } = options;

  async function decide(
    { method, path, headers }: AttributeContext_HttpRequest,
    clientIp: string | undefined,
  ): Promise<TilesVerdict> {
    if (!isReading(method)) return malformed("tiles are read by GET and HEAD only");
    if (Object.keys(headers).some((name) => name.includes("_") && isAlias(name))) {
      return malformed('a header has "_" where one that decides has "-"');
    }
    if (CREDENTIALS.some((name) => headers[name]?.includes(","))) {
      return malformed("a header that decides is there twice");
    }
    const asked = tileRequests.read(path);
    if ("granted" in asked) return asked;
    const query = asked.key === undefined ? NO_QUERY : new URLSearchParams({ key: asked.key });
    const credentials = readCredentials(
      { rawHeaders: Object.entries(headers).flat() },
      query,
      () => clientIp,
    );
    return tileRequests.decide(
      asked,
      () => callers.peek(credentials, clock()) ?? callers.resolve(credentials, false),
      // This call has its place.
      () => {},
    );
  }

  return {
    async check({ attributes }, { values }) {
      const call = values.get(callKey);
      if (call === undefined || !addresses.isFromProxy(call.request)) {
        throw new DomainError(
          "permission_denied",
          "NOT_A_TRUSTED_PROXY",
          "only proxies that TRUSTED_PROXIES names may ask",
        );
      }
      const http = attributes?.request?.http;
      const clientIp = canonicalIp(attributes?.source?.address?.socketAddress?.address ?? "");
      const verdict = http === undefined ? malformed("the request is missing") : await decide(http, clientIp);
      if (verdict.granted) return granted(verdict);
      if (verdict.cause !== undefined) log.warn({ err: verdict.cause }, verdict.detail);
      return refused(verdict, cors.headersOf({ method: http?.method, headers: { ...http?.headers } }));
    },
  };
}

function granted(tiles: GrantedTiles): CheckResponseInit {
  const { scope, accountId: account = "", apiKeyId: key_id = "" } = tiles;
  return {
    status: { code: 0 },
    httpResponse: {
      case: "okResponse",
      value: {
        headers: toHeaders(grantHeaders(tiles)),
        headersToRemove: SPENT_HEADERS,
        queryParametersToRemove: SPENT_PARAMETERS,
      },
    },
    dynamicMetadata: { scope, account, key_id },
  };
}

/** By the status that the client gets: google.rpc.Code. */
const CODES: Readonly<Record<number, number>> = { 401: 16, 403: 7, 429: 8, 503: 14 };

function refused(verdict: RefusedTiles, corsHeaders: HeaderList): CheckResponseInit {
  // Envoy passes on any.
  const status = refusalStatus(verdict.reason, 429);
  return {
    status: { code: CODES[status] ?? 7, message: verdict.detail },
    httpResponse: {
      case: "deniedResponse",
      value: {
        status: { code: status },
        headers: toHeaders([
          ...corsHeaders,
          ...refusalHeaders(verdict),
          ...["content-type", "application/problem+json"],
        ]),
        body: refusalBody(verdict, status),
      },
    },
  };
}

function toHeaders(headers: HeaderList): MessageInitShape<typeof HeaderValueOptionSchema>[] {
  const appendAction = HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD;
  return headers.flatMap((key, index) =>
    index % 2 === 0
      ? [{ header: { key, value: headers[index + 1] ?? "" }, appendAction, keepEmptyValue: true }]
      : [],
  );
}
