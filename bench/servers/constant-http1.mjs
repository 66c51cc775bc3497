// The limit of node:http: an answer of the right size, without looking at the request. With --empty one without a body.
import { createServer } from "node:http";
import { fixture } from "./tokens.mjs";

const isEmpty = process.argv.includes("--empty");
const body = isEmpty ? undefined : Buffer.from(fixture.jsonAnswer, "base64");
const headers = body
  ? { "content-type": "application/json", "content-length": body.length }
  : { "content-length": 0 };

const server = createServer((_request, response) => {
  response.writeHead(200, headers);
  response.end(body);
});
server.listen(0, "127.0.0.1", () => process.send?.({ listening: server.address() }));
