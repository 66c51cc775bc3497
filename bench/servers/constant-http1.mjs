// The limit of node:http: an answer of the right size, without looking at the request.
import { createServer } from "node:http";
import { fixture } from "./tokens.mjs";

const body = Buffer.from(fixture.jsonAnswer, "base64");
const headers = { "content-type": "application/json", "content-length": body.length };

const server = createServer((_request, response) => {
  response.writeHead(200, headers);
  response.end(body);
});
server.listen(0, "127.0.0.1", () => process.send?.({ listening: server.address() }));
