import { connect } from "node:http2";
import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
  ServerReflection as V1,
} from "../../src/gen/proto/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../../src/gen/proto/grpc/reflection/v1alpha/reflection_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { serve } from "./serve.js";

type Request = ServerReflectionRequest["messageRequest"];

async function start() {
  const { server } = await serve();
  const transport = createGrpcTransport({ baseUrl: server.url });
  const client = createClient(V1, transport);
  const older = createClient(V1Alpha, transport);
  return {
    url: server.url,
    older,
    client,
    /** The answer to one request. */
    async ask(messageRequest: Request) {
      const responses = client.serverReflectionInfo(
        (async function* () {
          yield { host: "a.example", messageRequest };
        })(),
      );
      for await (const response of responses) return response;
      throw new Error("no answer");
    },
  };
}

function decodeFiles(response: { value?: unknown; case?: string | undefined }): FileDescriptorProto[] {
  expect(response.case).toBe("fileDescriptorResponse");
  const { fileDescriptorProto } = response.value as { fileDescriptorProto: Uint8Array[] };
  return fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

test("a file comes first, with all that it imports, each once, so that a client can build the schema", async () => {
  const { ask } = await start();
  const value = "tilegate/v1/tile_token_service.proto";
  const file = decodeFiles((await ask({ case: "fileByFilename", value })).messageResponse);
  const names = file.map(({ name }) => name);
  expect(names[0]).toBe(value);
  expect(names).toContain("buf/validate/validate.proto");
  expect(names).toContain("google/protobuf/descriptor.proto");
  expect(new Set(names).size).toBe(names.length);

  const imports = new Map(file.map((each) => [each.name, each]));
  const sorted = new Set<FileDescriptorProto>();
  const visit = (each: FileDescriptorProto | undefined) => {
    if (!each) throw new Error("an import is missing");
    for (const name of each.dependency) visit(imports.get(name));
    sorted.add(each);
  };
  visit(file[0]);
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...sorted] }));
  expect(registry.getService("tilegate.v1.TileTokenService")?.methods).toHaveLength(
    TileTokenService.methods.length,
  );
});

test.each([
  ["a service", "tilegate.v1.TileTokenService", "tilegate/v1/tile_token_service.proto"],
  ["a method", "tilegate.v1.TileTokenService.BatchGetTileTokens", "tilegate/v1/tile_token_service.proto"],
  ["a message", "tilegate.v1.TileTokenResult", "tilegate/v1/tile_token.proto"],
  ["a field", "tilegate.v1.TileTokenResult.vector", "tilegate/v1/tile_token.proto"],
  ["an enum", "tilegate.v1.TileTokenErrorCode", "tilegate/v1/tile_token.proto"],
  ["an enum's value", "tilegate.v1.TILE_TOKEN_ERROR_CODE_NOT_FOUND", "tilegate/v1/tile_token.proto"],
  ["a nested enum", "grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"],
  ["a nested enum's value", "grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"],
  ["a nested message", "google.protobuf.DescriptorProto.ExtensionRange", "google/protobuf/descriptor.proto"],
  ["an extension", "buf.validate.field", "buf/validate/validate.proto"],
  [
    "reflection itself",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc/reflection/v1alpha/reflection.proto",
  ],
])("%s is found in its file", async (_name, value, fileName) => {
  const { ask } = await start();
  const [file] = decodeFiles((await ask({ case: "fileContainingSymbol", value })).messageResponse);
  expect(file?.name).toBe(fileName);
});

test("extensions are found by type and number", async () => {
  const { ask } = await start();
  const containingType = "google.protobuf.FieldOptions";
  const { messageResponse } = await ask({ case: "allExtensionNumbersOfType", value: containingType });
  expect(messageResponse).toMatchObject({
    case: "allExtensionNumbersResponse",
    value: { baseTypeName: containingType, extensionNumber: [1159, 1160] },
  });
  const found = await ask({
    case: "fileContainingExtension",
    value: { $typeName: "grpc.reflection.v1.ExtensionRequest", containingType, extensionNumber: 1159 },
  });
  expect(decodeFiles(found.messageResponse)[0]?.name).toBe("buf/validate/validate.proto");

  const none = await ask({ case: "allExtensionNumbersOfType", value: "tilegate.v1.TileTokenResult" });
  expect(none.messageResponse).toMatchObject({ value: { extensionNumber: [] } });
});

describe("errors are answers in the stream, with the request that they answer", () => {
  const unknown: Request[] = [
    { case: "fileByFilename", value: "no.proto" },
    { case: "fileContainingSymbol", value: "no.Such" },
    { case: "fileContainingSymbol", value: "tilegate.v1.TileTokenService.NoSuch" },
    { case: "fileContainingSymbol", value: "constructor" },
    { case: "allExtensionNumbersOfType", value: "no.Such" },
    {
      case: "fileContainingExtension",
      value: {
        $typeName: "grpc.reflection.v1.ExtensionRequest",
        containingType: "google.protobuf.FieldOptions",
        extensionNumber: 1,
      },
    },
  ];
  test.each(unknown)("not found: $case $value", async (messageRequest) => {
    const { ask } = await start();
    expect(await ask(messageRequest)).toMatchObject({
      validHost: "a.example",
      originalRequest: { host: "a.example", messageRequest },
      messageResponse: { case: "errorResponse", value: { errorCode: Code.NotFound } },
    });
  });

  test("empty", async () => {
    const { ask } = await start();
    expect(await ask({ case: undefined })).toMatchObject({
      messageResponse: { case: "errorResponse", value: { errorCode: Code.InvalidArgument } },
    });
  });
});

test("v1alpha answers as v1, several requests on one stream", async () => {
  const { client, older } = await start();
  const requests = [
    { messageRequest: { case: "listServices", value: "" } },
    { messageRequest: { case: "fileContainingSymbol", value: "tilegate.v1.TileTokenService" } },
  ] as const;
  async function* send() {
    yield* requests;
  }
  const answers: unknown[] = [];
  for await (const { messageResponse } of client.serverReflectionInfo(send()))
    answers.push(messageResponse.value);
  const olderAnswers: unknown[] = [];
  for await (const { messageResponse } of older.serverReflectionInfo(send())) {
    olderAnswers.push(messageResponse.value);
  }
  expect(answers).toHaveLength(2);
  const withoutVersion = (value: unknown) =>
    JSON.stringify(value, (key, part) => (key === "$typeName" ? undefined : part));
  expect(olderAnswers.map(withoutVersion)).toEqual(answers.map(withoutVersion));
  expect(answers[0]).toMatchObject({
    service: [
      { name: "tilegate.v1.TileTokenService" },
      { name: "grpc.health.v1.Health" },
      { name: "grpc.reflection.v1.ServerReflection" },
      { name: "grpc.reflection.v1alpha.ServerReflection" },
    ],
  });
});

describe.each([
  ["gRPC", (baseUrl: string) => createGrpcTransport({ baseUrl })],
  ["gRPC-Web", (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "2" })],
  ["gRPC-Web over HTTP/1.1", (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })],
  [
    "Connect",
    (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
  ],
  [
    "Connect over HTTP/1.1",
    (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: true }),
  ],
])("over %s", (_name, createTransport) => {
  const known = { case: "fileContainingSymbol", value: "grpc.health.v1.Health" } as const;
  const unknown = { case: "fileByFilename", value: "no.proto" } as const;

  test.each([V1, V1Alpha])("$typeName answers files and errors, each with its request", async (version) => {
    const { server } = await serve();
    const client = createClient(version, createTransport(server.url));
    async function* send() {
      yield { host: "a.example", messageRequest: known };
      yield { messageRequest: unknown };
    }
    const answers: unknown[] = [];
    for await (const answer of client.serverReflectionInfo(send())) answers.push(answer);
    expect(answers).toMatchObject([
      {
        validHost: "a.example",
        originalRequest: { host: "a.example", messageRequest: known },
        messageResponse: { case: "fileDescriptorResponse" },
      },
      {
        originalRequest: { messageRequest: unknown },
        messageResponse: { case: "errorResponse", value: { errorCode: Code.NotFound } },
      },
    ]);
  });

  test("a stream that asks too much ends with an error that the client understands", async () => {
    const { server } = await serve();
    const client = createClient(V1, createTransport(server.url));
    async function* send() {
      for (let count = 0; count < 101; count++) yield { messageRequest: known };
    }
    const all = async () => {
      for await (const { messageResponse } of client.serverReflectionInfo(send())) {
        expect(messageResponse.case).toBe("fileDescriptorResponse");
      }
    };
    await expect(all()).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      rawMessage: "a stream has 100 requests at most",
    });
  });
});

test("a @grpc/grpc-js client is answered", async () => {
  const { server } = await serve();
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  const stream = client.makeBidiStreamRequest(
    `/${V1.typeName}/ServerReflectionInfo`,
    (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
    (bytes) => fromBinary(ServerReflectionResponseSchema, bytes),
  );
  const messageRequest = { case: "fileContainingSymbol", value: "tilegate.v1.TileTokenService" } as const;
  stream.write(create(ServerReflectionRequestSchema, { messageRequest }));
  stream.end();
  const answers: unknown[] = [];
  for await (const answer of stream) answers.push(answer);
  client.close();
  expect(answers).toMatchObject([{ messageResponse: { case: "fileDescriptorResponse" } }]);
});

test("what isn't a request ends the stream with INVALID_ARGUMENT", async () => {
  const { url } = await start();
  const session = connect(url);
  const stream = session.request({
    ":method": "POST",
    ":path": `/${V1.typeName}/ServerReflectionInfo`,
    "content-type": "application/grpc",
  });
  const trailers = new Promise<Record<string, unknown>>((resolve) => stream.once("trailers", resolve));
  stream.end(Buffer.of(0, 0, 0, 0, 2, 0x22, 0x7f));
  stream.resume();
  expect(await trailers).toMatchObject({ "grpc-status": String(Code.InvalidArgument) });
  session.destroy();
});

describe("the schema isn't sent, nor made ready to send, more often than a client needs:", () => {
  const service = {
    messageRequest: { case: "fileContainingSymbol", value: "tilegate.v1.TileTokenService" },
  } as const;

  test("a stream gets each import once, and what it asks for first in each answer", async () => {
    const { client } = await start();
    async function* send() {
      yield service;
      yield service;
      yield { messageRequest: { case: "fileByFilename", value: "buf/validate/validate.proto" } } as const;
      yield { messageRequest: { case: "fileContainingSymbol", value: "grpc.health.v1.Health" } } as const;
    }
    const names: (string | undefined)[][] = [];
    for await (const { messageResponse } of client.serverReflectionInfo(send())) {
      names.push(decodeFiles(messageResponse).map(({ name }) => name));
    }
    expect(names[0]).toContain("buf/validate/validate.proto");
    expect(names.slice(1)).toEqual([
      ["tilegate/v1/tile_token_service.proto"],
      ["buf/validate/validate.proto"],
      ["grpc/health/v1/health.proto"],
    ]);
    for await (const { messageResponse } of client.serverReflectionInfo(send())) {
      expect(decodeFiles(messageResponse).map(({ name }) => name)).toEqual(names[0]);
      break;
    }
  });

  test("a stream is answered 100 times (amplification: 35 bytes are answered with 72 kB)", async () => {
    const { client } = await start();
    async function* send() {
      for (let count = 0; count < 101; count++) yield service;
    }
    let answers = 0;
    const all = async () => {
      for await (const _ of client.serverReflectionInfo(send())) answers++;
    };
    await expect(all()).rejects.toMatchObject({ code: Code.ResourceExhausted });
    expect(answers).toBe(100);
  });

  test.each(["br", "gzip", "gzip,br"])(
    "no answer is compressed for a client that accepts %s",
    async (accepted) => {
      const { url } = await start();
      const message = toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, service));
      const session = connect(url);
      const stream = session.request({
        ":method": "POST",
        ":path": `/${V1.typeName}/ServerReflectionInfo`,
        "content-type": "application/grpc",
        "grpc-accept-encoding": accepted,
      });
      stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      session.destroy();
      const answer = Buffer.concat(chunks);
      const [compressed, length] = [answer.readUInt8(0), answer.readUInt32BE(1)];
      expect(compressed).toBe(0);
      expect(length).toBeGreaterThan(10_000);
    },
  );

  test("a request is as long as a symbol's name may be: 4 KiB", async () => {
    const { ask } = await start();
    const fits = await ask({ case: "fileContainingSymbol", value: "x".repeat(4_000) });
    expect(fits.messageResponse.case).toBe("errorResponse");
    const tooLong = ask({ case: "fileContainingSymbol", value: "x".repeat(4_100) });
    await expect(tooLong).rejects.toMatchObject({ code: Code.ResourceExhausted });
  });
});
