import { execFile } from "node:child_process";
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import { promisify } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Client, credentials } from "@grpc/grpc-js";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type BatchGetTileTokensRequest,
  BatchGetTileTokensRequestSchema,
  type BatchGetTileTokensResponse,
  BatchGetTileTokensResponseSchema,
  TileTokenService,
} from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { connectRaw } from "./raw-client.js";
import { batchPath, createCertificate, datasetId, serve } from "./serve.js";

const jsonBody = JSON.stringify({ datasetIds: [datasetId] });
const jsonAnswer = { tokens: { [datasetId]: { vector: { scope: datasetId, exp: 900 } } } };

let tls: Awaited<ReturnType<typeof createCertificate>>;
beforeAll(async () => {
  tls = await createCertificate();
});

describe.each(["cleartext", "TLS"])("over one %s port", (kind) => {
  const isTls = kind === "TLS";
  const start = () => serve(isTls ? { tls } : {});

  const transports: [string, (baseUrl: string, nodeOptions: { ca?: Buffer }) => Transport][] = [];
  for (const httpVersion of ["1.1", "2"] as const) {
    for (const useBinaryFormat of [true, false]) {
      const format = useBinaryFormat ? "binary" : "JSON";
      transports.push([
        `Connect ${format}, HTTP/${httpVersion}`,
        (baseUrl, nodeOptions) =>
          createConnectTransport({ baseUrl, httpVersion, useBinaryFormat, nodeOptions }),
      ]);
      transports.push([
        `Connect GET ${format}, HTTP/${httpVersion}`,
        (baseUrl, nodeOptions) =>
          createConnectTransport({ baseUrl, httpVersion, useBinaryFormat, useHttpGet: true, nodeOptions }),
      ]);
    }
    transports.push([
      `gRPC-Web, HTTP/${httpVersion}`,
      (baseUrl, nodeOptions) => createGrpcWebTransport({ baseUrl, httpVersion, nodeOptions }),
    ]);
  }
  transports.push(["gRPC, HTTP/2", (baseUrl, nodeOptions) => createGrpcTransport({ baseUrl, nodeOptions })]);

  test.each(transports)("%s is served", async (_name, createTransport) => {
    const { server } = await start();
    const client = createClient(TileTokenService, createTransport(server.url, isTls ? { ca: tls.cert } : {}));
    const { tokens } = await client.batchGetTileTokens({ datasetIds: [datasetId] });
    expect(tokens[datasetId]?.result.value).toMatchObject({ scope: datasetId, exp: 900 });
  });

  test("a @grpc/grpc-js client is served", async () => {
    const { server } = await start();
    const client = new Client(
      `127.0.0.1:${server.port}`,
      isTls ? credentials.createSsl(tls.cert) : credentials.createInsecure(),
      { "grpc.ssl_target_name_override": "localhost" },
    );
    const response = await new Promise<BatchGetTileTokensResponse | undefined>((resolve, reject) => {
      client.makeUnaryRequest<BatchGetTileTokensRequest, BatchGetTileTokensResponse>(
        batchPath,
        (message) => Buffer.from(toBinary(BatchGetTileTokensRequestSchema, message)),
        (bytes) => fromBinary(BatchGetTileTokensResponseSchema, bytes),
        create(BatchGetTileTokensRequestSchema, { datasetIds: [datasetId] }),
        (error, value) => (error ? reject(error) : resolve(value)),
      );
    });
    client.close();
    expect(Object.keys(response?.tokens ?? {})).toEqual([datasetId]);
  });
});

describe("plain HTTP clients", () => {
  test("fetch gets Connect JSON by POST", async () => {
    const { server } = await serve();
    const response = await fetch(server.url + batchPath, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: jsonBody,
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(jsonAnswer);
  });

  test("fetch gets Connect JSON by GET", async () => {
    const { server } = await serve();
    const query = new URLSearchParams({ connect: "v1", encoding: "json", message: jsonBody });
    const response = await fetch(`${server.url}${batchPath}?${query}`);
    expect(await response.json()).toEqual(jsonAnswer);
  });

  test("a TLS client without ALPN gets HTTP/1.1", async () => {
    const { server } = await serve({ tls });
    const socket = connect({ port: server.port, host: "127.0.0.1", ca: tls.cert });
    socket.end("GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 404/);
  });

  test("a request whose first bytes come one by one is served", async () => {
    const { server } = await serve();
    const raw = await connectRaw(server.port);
    raw.socket.setNoDelay(true);
    for (const byte of "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") {
      await new Promise((written) => raw.socket.write(byte, written));
    }
    await raw.receives("HTTP/1.1 404 Not Found");
  });
});

describe("buf curl learns the schema by reflection", () => {
  const buf = new URL("../../node_modules/.bin/buf", import.meta.url).pathname;
  const protocols = {
    grpc: ["--protocol", "grpc", "--http2-prior-knowledge"],
    "gRPC-Web": ["--protocol", "grpcweb"],
    "Connect over HTTP/1.1": ["--protocol", "connect"],
    "Connect over h2c": ["--protocol", "connect", "--http2-prior-knowledge"],
  };
  const cases = Object.entries(protocols).flatMap(([name, args]) =>
    ["grpc-v1", "grpc-v1alpha"].map((version) => [name, version, args] as const),
  );

  test.each(cases)("%s, %s", async (_name, version, args) => {
    const { server } = await serve();
    const { stdout } = await promisify(execFile)(buf, [
      ...["curl", ...args, "--reflect-protocol", version, "-d", jsonBody],
      server.url + batchPath,
    ]);
    expect(JSON.parse(stdout)).toEqual(jsonAnswer);
  });
});
