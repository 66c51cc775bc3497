import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { grpcFrame } from "../../harness/grpc-frame.mjs";
import { type Headers, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { postGrpc, send } from "./raw-requests.js";

const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const LIST = "/tilegate.v1.ApiKeyService/ListApiKeys";
const TOKEN = "/api/tiles/token/dadadada-0000-4000-8000-000000000001";

let app: TestApp;
let account: TestAccount;
// One for each test: places are free when the service hears that their clients are gone.
beforeEach(async () => {
  // Four places for calls that wait: three for strangers.
  app = await startTestApp({ MAX_CALLS: "8" });
  account = await createAccount(app);
});
afterEach(async () => {
  await app[Symbol.asyncDispose]();
  expect(app.log.filter((line) => JSON.parse(line).level >= 50)).toEqual([]);
});

/** A call whose body does not end, once the service has begun to read it. */
async function slowCall(headers: Headers = {}, length = 60_000, sent = 100): Promise<Socket> {
  const socket = connect(Number(new URL(app.url).port), "127.0.0.1");
  onTestFinished(() => {
    socket.destroy();
  });
  socket.on("error", () => undefined);
  const lines = Object.entries({ Host: "x", "Content-Type": "application/json", ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  socket.write(`POST ${BATCH} HTTP/1.1\r\n${lines}Content-Length: ${length}\r\n\r\n${"x".repeat(sent)}`);
  await once(socket, "connect");
  // What arrived before this has been read, up to where it waits.
  await send(app, "/healthz");
  await send(app, "/healthz");
  return socket;
}

describe("when strangers hold all the places that they may", () => {
  test("one more of them is told to come back, in the words of each protocol", async () => {
    for (let held = 0; held < 3; held += 1) await slowCall();
    const connectAnswer = await send(app, `${BATCH}?connect=v1&encoding=json&message={}`);
    expect(connectAnswer.status).toBe(503);
    expect(connectAnswer.headers["retry-after"]).toBe("1");
    expect(JSON.parse(connectAnswer.body)).toMatchObject({ code: "resource_exhausted" });
    const grpc = await postGrpc(app, BATCH, grpcFrame(Buffer.alloc(0)));
    expect(grpc.grpcStatus).toBe(Code.ResourceExhausted);
    const rest = await send(app, TOKEN);
    expect([rest.status, rest.headers["retry-after"]]).toEqual([503, "1"]);
    expect(JSON.parse(rest.body)).toMatchObject({ status: 503, reason: "OVERLOADED" });
  });

  test("there is a place left for who shows a credential, and health checks need none", async () => {
    for (let held = 0; held < 3; held += 1) await slowCall();
    const list = {
      method: "POST",
      headers: { "content-type": "application/json", ...account.backend },
      body: "{}",
    };
    expect((await send(app, LIST, list)).status).toBe(200);
    await slowCall(account.backend);
    expect((await send(app, LIST, list)).status).toBe(503);
    expect((await send(app, "/healthz")).status).toBe(200);
  });

  test("a place is free again once its client is gone", async () => {
    const sockets = [await slowCall(), await slowCall(), await slowCall()];
    expect((await send(app, TOKEN)).status).toBe(503);
    for (const socket of sockets) socket.destroy();
    for (let asked = 0; (await send(app, TOKEN)).status === 503; asked += 1) expect(asked).toBeLessThan(100);
    expect((await send(app, TOKEN)).status).toBe(404);
  });
});

test("the bodies of strangers fill no more memory than is kept for them: 16 MiB", async () => {
  const roomy = await startTestApp();
  try {
    const port = Number(new URL(roomy.url).port);
    const answers: string[] = [];
    // 16 MiB are 262 of them. Each is a body that does not end.
    const sockets = Array.from({ length: 300 }, () => {
      const socket = connect(port, "127.0.0.1");
      socket.on("data", (chunk) => answers.push(String(chunk)));
      socket.on("error", () => undefined);
      socket.write(`POST ${BATCH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`);
      socket.write(`Content-Length: 65000\r\n\r\n${"x".repeat(64_000)}`);
      return socket;
    });
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
    });
    while (answers.length < 30) await send(roomy, "/healthz");
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    // A small body still finds room.
    const batch = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };
    expect((await send(roomy, BATCH, batch)).status).toBe(400);
  } finally {
    await roomy[Symbol.asyncDispose]();
  }
});
