// The limit of node:http2: a gRPC answer of the right size, without looking at the request.
import { createServer } from "node:http2";
import { fixture } from "./tokens.mjs";

const body = Buffer.from(fixture.grpcAnswer, "base64");
const headers = { ":status": 200, "content-type": "application/grpc+proto" };

const server = createServer();
server.on("stream", (stream) => {
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.respond(headers, { waitForTrailers: true });
  stream.end(body);
  stream.resume();
});
server.listen(0, "127.0.0.1", () => process.send?.({ listening: server.address() }));
