import { once } from "node:events";
import { type OutgoingHttpHeaders, request } from "node:http";
import { text } from "node:stream/consumers";
import { create, toBinary } from "@bufbuild/protobuf";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { GetTileTokenRequestSchema } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import type { TestApp } from "../harness/app.js";
import { postGrpc } from "./raw-requests.js";

/** A list of values is sent as several headers of one name. */
export type SentHeaders = Record<string, string | string[]>;

export interface DoorAnswer {
  readonly outcome: string;
  /** All that came back but the time, so that two answers can be compared. */
  readonly whole: unknown;
}

/**
 * Asks for one dataset's tile token.
 * @param token The key. Undefined: none is sent.
 */
export type Door = (
  app: TestApp,
  datasetId: string,
  token: string | undefined,
  headers?: SentHeaders,
) => Promise<DoorAnswer>;

const HTTP_OUTCOMES: Record<number, string> = {
  200: "granted",
  401: "unauthenticated",
  403: "permission denied",
  404: "not found",
  429: "rate limited",
};

const GRPC_OUTCOMES: Record<number, string> = {
  0: "granted",
  16: "unauthenticated",
  7: "permission denied",
  5: "not found",
  8: "rate limited",
};

const GET_TILE_TOKEN = "/tilegate.v1.TileTokenService/GetTileToken";

const withKey = (token: string | undefined, headers: SentHeaders = {}) =>
  token === undefined ? headers : { "x-api-key": token, ...headers };

/** HTTP/1.1 without what a client would correct: fetch allows neither these headers nor two of a name. */
export async function http1(
  app: TestApp,
  path: string,
  { body, headers }: { body?: unknown; headers: SentHeaders },
) {
  const json = body === undefined ? {} : { "content-type": "application/json" };
  const method = body === undefined ? "GET" : "POST";
  const sent = request(app.url + path, { method });
  for (const [name, value] of Object.entries({ ...json, ...headers })) sent.setHeader(name, value);
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = await once(sent, "response");
  const { date: _, ...received } = response.headers;
  const answer = { status: Number(response.statusCode), headers: received, body: await text(response) };
  return { ...answer, outcome: HTTP_OUTCOMES[answer.status] ?? `HTTP ${answer.status}`, whole: answer };
}

/** Every way in which a page or a program gets a tile token with a key. */
export const DOORS: Record<string, Door> = {
  "REST, X-Api-Key": (app, id, token, headers) =>
    http1(app, `/api/tiles/token/${id}/`, { headers: withKey(token, headers) }),
  "REST, ?key=": (app, id, token, headers = {}) =>
    http1(app, `/tiles/token/${id}/${token === undefined ? "" : `?key=${encodeURIComponent(token)}`}`, {
      headers,
    }),
  "REST batch, X-Api-Key": async (app, id, token, headers) => {
    const body = { dataset_ids: [id] };
    const answer = await http1(app, "/api/tiles/tokens/", { body, headers: withKey(token, headers) });
    const refusedAlone = answer.status === 200 && !answer.body.includes('"sig"');
    return refusedAlone ? { ...answer, outcome: "refused for the dataset" } : answer;
  },
  Connect: (app, datasetId, token, headers) =>
    http1(app, GET_TILE_TOKEN, { body: { datasetId }, headers: withKey(token, headers) }),
  "Connect GET": (app, datasetId, token, headers) => {
    const query = new URLSearchParams({
      connect: "v1",
      encoding: "json",
      message: JSON.stringify({ datasetId }),
    });
    return http1(app, `${GET_TILE_TOKEN}?${query}`, { headers: withKey(token, headers) });
  },
  gRPC: async (app, datasetId, token, headers) => {
    const message = toBinary(GetTileTokenRequestSchema, create(GetTileTokenRequestSchema, { datasetId }));
    // The type knows of one Origin only.
    const sent = withKey(token, headers) as OutgoingHttpHeaders;
    const answer = await postGrpc(app, GET_TILE_TOKEN, grpcFrame(message), sent);
    const { date: _, ...received } = answer.headers;
    const outcome = GRPC_OUTCOMES[answer.grpcStatus ?? -1] ?? `gRPC ${answer.grpcStatus}`;
    return { outcome, whole: { ...answer, headers: received, text: undefined } };
  },
};
