import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, onTestFinished, test } from "vitest";
import { freePort } from "../../harness/ports.mjs";
import { type Environment, runTilegate, startTilegate } from "../../harness/tilegate.mjs";
import { Health, HealthCheckResponse_ServingStatus } from "../../src/gen/proto/grpc/health/v1/health_pb.js";
import { createDataDirectory, temporaryDirectory } from "../harness/data-directory.js";
import { createInstallation } from "../harness/installation.js";
import { createCertificate } from "../server/serve.js";

/** A service on a port that its health check finds too. */
async function install(env: Environment = {}) {
  const installation = await createInstallation();
  onTestFinished(() => installation[Symbol.asyncDispose]());
  return { ...installation.env, PORT: String(await freePort()), ...env };
}

describe("a service that is asked to stop", () => {
  test("is not ready at once, and serves until the delay is over, which a second signal ends", async () => {
    await using service = await startTilegate(await install({ SHUTDOWN_DELAY_SECONDS: "300" }));
    const health = createClient(Health, createGrpcTransport({ baseUrl: service.url }));
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);

    service.signal("SIGTERM");
    await service.logged("shutting down");
    expect((await fetch(`${service.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200);
    expect((await health.check({})).status).toBe(HealthCheckResponse_ServingStatus.NOT_SERVING);

    service.signal("SIGTERM");
    expect((await service.finished).code).toBe(0);
  });

  test("ends at once where there is no delay, as when embedded", async () => {
    await using directory = await createDataDirectory();
    await using service = await startTilegate({ DATA_DIR: directory.path, SEED_DEMO: "false", PORT: "0" });
    service.signal("SIGINT");
    expect((await service.finished).code).toBe(0);
  });
});

describe("the health check", () => {
  test("succeeds while the service is ready, and fails with the reason while it is not, unless asked for life", async () => {
    const env = await install({ SHUTDOWN_DELAY_SECONDS: "300", HOST: "0.0.0.0" });
    await using service = await startTilegate(env);
    expect(await runTilegate(["healthcheck"], env)).toEqual({ code: 0, stdout: "", stderr: "" });
    service.signal("SIGTERM");
    await service.logged("shutting down");
    expect(await runTilegate(["healthcheck"], env)).toMatchObject({
      code: 1,
      stderr: "tilegate: not healthy: shutting down or not yet started\n",
    });
    expect(await runTilegate(["healthcheck", "--live"], env)).toMatchObject({ code: 0 });
  });

  test("speaks TLS to a service whose certificate is for another name", async () => {
    await using directory = await temporaryDirectory();
    const tls = await createCertificate();
    const files = { TLS_CERT_FILE: join(directory.path, "cert"), TLS_KEY_FILE: join(directory.path, "key") };
    writeFileSync(files.TLS_CERT_FILE, tls.cert);
    writeFileSync(files.TLS_KEY_FILE, tls.key);
    const env = await install(files);
    await using _service = await startTilegate(env);
    expect(await runTilegate(["healthcheck"], env)).toMatchObject({ code: 0 });
  });

  test("fails where nothing listens, and within 3 s where nothing answers", async () => {
    const PORT = String(await freePort());
    expect(await runTilegate(["healthcheck"], { PORT })).toMatchObject({
      code: 1,
      stderr: `tilegate: not healthy: connect ECONNREFUSED 127.0.0.1:${PORT}\n`,
    });
    const silent = createServer((_request: IncomingMessage, _response: ServerResponse) => undefined);
    silent.listen(Number(PORT), "127.0.0.1");
    await once(silent, "listening");
    onTestFinished(() => {
      silent.closeAllConnections();
      silent.close();
    });
    expect(await runTilegate(["healthcheck"], { PORT })).toMatchObject({
      code: 1,
      stderr: "tilegate: not healthy: no answer within 3 s\n",
    });
  });
});
