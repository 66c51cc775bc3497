import { Client, credentials, Metadata, type ServiceDefinition, type ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { Headers } from "./app.js";

// As a user's build would find them: our sources, and those of the rules that they import.
const includeDirs = ["proto", "node_modules/.cache/tilegate/proto"];
const longs = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };

/** Calls a TileTokenService RPC with a @grpc/grpc-js client, messages being plain objects. Rejects with ServiceError. */
export async function callWithGrpcJs<Response>(
  url: string,
  rpc: string,
  request: object,
  headers: Headers = {},
): Promise<Response> {
  const loaded = loadSync("tilegate/v1/tile_token_service.proto", { includeDirs, ...longs });
  const service = loaded["tilegate.v1.TileTokenService"] as ServiceDefinition;
  const method = service[rpc];
  if (!method) throw new Error(`no such RPC: ${rpc}`);
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const client = new Client(new URL(url).host, credentials.createInsecure());
  try {
    return await new Promise<Response>((resolve, reject) => {
      const done = (error: ServiceError | null, response?: Response) =>
        error || response === undefined ? reject(error) : resolve(response);
      const { path, requestSerialize, responseDeserialize } = method;
      const decode = (bytes: Buffer): Response => responseDeserialize(bytes) as Response;
      client.makeUnaryRequest(path, requestSerialize, decode, request, metadata, done);
    });
  } finally {
    client.close();
  }
}
