import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { GrantedTiles } from "../domain/tile-requests/tile-requests.js";
import { grantHeaders, refusalBody, refusalHeaders, refusalStatus } from "../front/tile-answers.js";
import {
  type Authorization,
  type CheckResponseSchema,
  HeaderValueOption_HeaderAppendAction,
  type HeaderValueOptionSchema,
} from "../gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import type { HeaderList } from "../server/http-handler.js";
import type { CheckedTiles, TileAuthorization } from "./tile-authorization.js";

type CheckResponseInit = MessageInitShape<typeof CheckResponseSchema>;

/** Never seen by the tile server, its log or its cache. */
const SPENT_PARAMETERS = ["sig", "exp", "scope", "key"];
const SPENT_HEADERS = ["x-api-key"];

/** Envoy's ext_authz. */
export function createAuthorizationService(
  authorization: TileAuthorization,
): ServiceImpl<typeof Authorization> {
  return {
    async check({ attributes }) {
      const { method = "", path = "", headers = {} } = attributes?.request?.http ?? {};
      const address = attributes?.source?.address?.socketAddress?.address ?? "";
      const request = { method, path, headers: Object.entries(headers).flat(), address };
      // This call has its place.
      return toCheckResponse(await authorization.check(request, () => {}));
    },
  };
}

/** How a verdict travels. */
export const toCheckResponse = (checked: CheckedTiles): CheckResponseInit =>
  checked.verdict.granted ? granted(checked.verdict) : refused(checked.verdict, checked.corsHeaders);

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

function refused(
  verdict: Exclude<CheckedTiles["verdict"], GrantedTiles>,
  corsHeaders: HeaderList,
): CheckResponseInit {
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
