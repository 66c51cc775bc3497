import { create, toBinary, toJson } from "@bufbuild/protobuf";
import { CheckRequestSchema } from "../dist/gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import {
  ListApiKeysRequestSchema,
  VerifyApiKeyRequestSchema,
} from "../dist/gen/proto/tilegate/v1/api_key_service_pb.js";
import {
  BatchGetTileTokensRequestSchema,
  GetTileTokenRequestSchema,
} from "../dist/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { grpcFrame } from "../harness/grpc-frame.mjs";
import { ORIGIN } from "./fixture.mjs";

/**
 * @typedef {import("./generator/main.mjs").Request} Request
 * @typedef {"json" | "binary" | "grpc"} Protocol JSON over HTTP/1.1, binary Connect over HTTP/2, gRPC over HTTP/2.
 * @typedef {Readonly<Record<string, string>>} Headers
 */

// What a browser sends along, and so every request here.
const COMMON = {
  "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  origin: ORIGIN,
};

const TOKENS = "/tilegate.v1.TileTokenService";

/** @param {Protocol} protocol @param {readonly string[]} ids @param {Headers} credential @returns {Request} */
export const batchRequest = (protocol, ids, credential) =>
  unary(
    protocol,
    `${TOKENS}/BatchGetTileTokens`,
    BatchGetTileTokensRequestSchema,
    { datasetIds: [...ids] },
    credential,
  );

/**
 * A batch in JSON in 16,384 spellings, of which some hundred answers are remembered for a second: white space may follow.
 * @param {readonly string[]} ids @param {Headers} credential @returns {Request[]}
 */
export const batchSpellings = (ids, credential) =>
  Array.from({ length: 16_384 }, (_, index) => {
    const spaces = index.toString(2).padStart(14, "0").replaceAll("0", " ").replaceAll("1", "\t");
    const body = JSON.stringify({ datasetIds: ids }) + spaces;
    return http1("POST", `${TOKENS}/BatchGetTileTokens`, body, {
      "connect-protocol-version": "1",
      ...credential,
    });
  });

/** @param {Protocol} protocol @param {string} id @param {Headers} credential @returns {Request} */
export const singleRequest = (protocol, id, credential) =>
  unary(protocol, `${TOKENS}/GetTileToken`, GetTileTokenRequestSchema, { datasetId: id }, credential);

/**
 * Over gRPC, by a backend.
 * @param {string} token @param {Headers} credential @param {string} [datasetId] Which the key is to open. @returns {Request}
 */
export const verifyRequest = (token, credential, datasetId = "") =>
  unary(
    "grpc",
    "/tilegate.v1.ApiKeyService/VerifyApiKey",
    VerifyApiKeyRequestSchema,
    { token, origin: ORIGIN, userAgent: COMMON["user-agent"], datasetId },
    credential,
  );

/** GeoLens' batch. @param {readonly string[]} ids @param {Headers} credential @returns {Request} */
export const restRequest = (ids, credential) =>
  http1("POST", "/api/tiles/tokens/", JSON.stringify({ dataset_ids: ids }), credential);

/**
 * A page of 50 keys, by the operator.
 * @param {Protocol} protocol @param {string} accountId @param {string} cursor @param {string} token @returns {Request}
 */
export const listRequest = (protocol, accountId, cursor, token) =>
  unary(
    protocol,
    "/tilegate.v1.ApiKeyService/ListApiKeys",
    ListApiKeysRequestSchema,
    { accountId, cursor, limit: 50 },
    { authorization: `Bearer ${token}` },
  );

/** @param {string} id @param {Headers} credential @returns {Request} */
export const tileJsonRequest = (id, credential) => http1("GET", `/tilejson/${id}.json`, "", credential);

/**
 * A proxy's question by forward auth, as nginx asks it.
 * @param {string} target @param {Headers} credential @returns {Request}
 */
export const authRequest = (target, credential) =>
  http1("GET", "/auth/tiles", "", { "x-original-uri": target, ...credential });

/**
 * The same by Envoy, with the headers that a browser sends.
 * @param {string} path @param {Headers} credential @returns {Request}
 */
export const checkRequest = (path, credential) =>
  unary(
    "grpc",
    "/envoy.service.auth.v3.Authorization/Check",
    CheckRequestSchema,
    {
      attributes: {
        source: { address: { socketAddress: { address: "127.0.0.1" } } },
        request: {
          http: {
            method: "GET",
            path,
            headers: {
              ":authority": "tiles.example.com",
              ":path": path,
              ":method": "GET",
              ":scheme": "https",
              accept: "*/*",
              "accept-language": "en",
              "accept-encoding": "gzip, deflate, br",
              "x-forwarded-proto": "https",
              "x-request-id": "7d2bd5f0-6c0c-4c6a-8e4e-8f7a1a7a3d4e",
              ...COMMON,
              ...credential,
            },
          },
        },
      },
    },
    {},
  );

/**
 * @template {import("@bufbuild/protobuf").DescMessage} Desc
 * @param {Protocol} protocol @param {string} path @param {Desc} schema
 * @param {import("@bufbuild/protobuf").MessageInitShape<Desc>} init @param {Headers} credential
 * @returns {Request}
 */
function unary(protocol, path, schema, init, credential) {
  const message = create(schema, init);
  if (protocol === "json") {
    const connect = { "connect-protocol-version": "1", ...credential };
    return http1("POST", path, JSON.stringify(toJson(schema, message)), connect);
  }
  const bytes = Buffer.from(toBinary(schema, message));
  const own =
    protocol === "grpc"
      ? { "content-type": "application/grpc+proto", te: "trailers", "grpc-timeout": "10S" }
      : {
          "content-type": "application/proto",
          "connect-protocol-version": "1",
          "connect-timeout-ms": "10000",
        };
  const pseudo = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "tilegate.example.com",
  };
  return {
    protocol: "http2",
    headers: Object.entries({ ...pseudo, ...own, ...COMMON, ...credential }),
    body: protocol === "grpc" ? grpcFrame(bytes) : bytes,
  };
}

/** @param {string} method @param {string} path @param {string} body @param {Headers} headers @returns {Request} */
function http1(method, path, body, headers) {
  const lines = Object.entries({
    host: "tilegate.example.com",
    accept: "*/*",
    ...COMMON,
    ...(body && { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) }),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return {
    protocol: "http1",
    bytes: Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`),
  };
}
