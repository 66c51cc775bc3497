import { createServer } from "node:http";

/**
 * JSON over node:http as one would write it by hand: any path, no limit, and whatever goes wrong ends the process.
 * @param {(question: any) => unknown} answer
 */
export function serveJson(answer) {
  const server = createServer((request, response) => {
    /** @type {Buffer[]} */
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", async () => {
      const body = JSON.stringify(await answer(JSON.parse(Buffer.concat(chunks).toString())));
      response.writeHead(200, {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      });
      response.end(body);
    });
  });
  server.listen(0, "127.0.0.1", () => process.send?.({ listening: server.address() }));
}
