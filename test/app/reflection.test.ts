import { expect, test } from "vitest";
import { ServerReflection } from "../../src/gen/proto/grpc/reflection/v1/reflection_pb.js";
import { startTestApp } from "../harness/app.js";

test("reflection lists every service that is served, health too, so that clients need no schema", async () => {
  await using app = await startTestApp();
  async function* request() {
    yield { messageRequest: { case: "listServices", value: "" } } as const;
  }
  const names: string[] = [];
  for await (const { messageResponse } of app
    .client(ServerReflection, {}, "grpc")
    .serverReflectionInfo(request())) {
    if (messageResponse.case !== "listServicesResponse")
      throw new Error(`unexpected: ${messageResponse.case}`);
    names.push(...messageResponse.value.service.map(({ name }) => name));
  }
  expect(names.toSorted()).toEqual([
    "envoy.service.auth.v3.Authorization",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tilegate.v1.AccountService",
    "tilegate.v1.ApiKeyService",
    "tilegate.v1.DatasetService",
    "tilegate.v1.TileTokenService",
  ]);
});
