// The limit of node:http2: a gRPC answer of the right size, without looking at the request. With --check one to Envoy.
import { createServer } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { CheckResponseSchema } from "../../dist/gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { fixture } from "./tokens.mjs";

const check = create(CheckResponseSchema, {
  httpResponse: {
    case: "okResponse",
    value: {
      headers: ["scope", "account", "key-id", "principal", "cache"].map((name) => ({
        header: { key: `x-tilegate-${name}`, value: "ne_10m_layer_00" },
        appendAction: 2,
        keepEmptyValue: true,
      })),
      headersToRemove: ["x-api-key"],
      queryParametersToRemove: ["sig", "exp", "scope", "key"],
    },
  },
  dynamicMetadata: { scope: "ne_10m_layer_00", account: "", key_id: "" },
});
const body = process.argv.includes("--check")
  ? grpcFrame(toBinary(CheckResponseSchema, check))
  : Buffer.from(fixture.grpcAnswer, "base64");
const headers = { ":status": 200, "content-type": "application/grpc+proto" };

const server = createServer();
server.on("stream", (stream) => {
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.respond(headers, { waitForTrailers: true });
  stream.end(body);
  stream.resume();
});
server.listen(0, "127.0.0.1", () => process.send?.({ listening: server.address() }));
