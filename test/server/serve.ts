import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { onTestFinished } from "vitest";
import { Health } from "../../src/gen/proto/grpc/health/v1/health_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { createHealth } from "../../src/server/health.js";
import type { HttpHandler } from "../../src/server/http-handler.js";
import { createReflection } from "../../src/server/reflection.js";
import { type ServerOptions, startServer } from "../../src/server/server.js";

export const datasetId = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";
export const batchPath = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
export const getPath = "/tilegate.v1.TileTokenService/GetTileToken";

/** A promise and the function that fulfils it. */
export function createGate() {
  let open: () => void = () => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

/**
 * A server on a free port: health, reflection, and a TileTokenService without rules. GetTileToken answers when the
 * gate opens. Other paths: 404. It is closed when the test ends.
 */
export async function serve(options: Partial<ServerOptions> = {}) {
  const health = createHealth({ services: [TileTokenService.typeName] });
  health.setServing(true);
  const gate = createGate();
  let waiting = 0;
  const arrivals: { count: number; arrived: () => void }[] = [];

  const reflection = createReflection([TileTokenService, Health]);
  const handler: HttpHandler = connectNodeAdapter({
    routes(router) {
      health.register(router);
      router.service(TileTokenService, {
        batchGetTileTokens: ({ datasetIds }) => ({
          tokens: Object.fromEntries(
            datasetIds.map((id) => [id, { result: { case: "vector", value: { scope: id, exp: 900 } } }]),
          ),
        }),
        async getTileToken({ datasetId }) {
          waiting += 1;
          for (const { count, arrived } of arrivals) if (waiting >= count) arrived();
          await gate.passed;
          return { token: { case: "vector", value: { scope: datasetId } } };
        },
      });
    },
    fallback(request, response) {
      if (reflection.paths.includes(request.url ?? "")) return reflection.answer(request, response);
      response.writeHead(404);
      response.end();
    },
  });
  const server = await startServer({ host: "127.0.0.1", port: 0, handler, ...options });
  onTestFinished(() => server.close({ graceMs: 0 }));

  return {
    server,
    health,
    /** Lets waiting and later GetTileToken calls finish. */
    release: gate.open,
    /** Resolves once so many GetTileToken calls wait. */
    async inFlight(count: number) {
      if (waiting >= count) return;
      const { open, passed } = createGate();
      arrivals.push({ count, arrived: open });
      await passed;
    },
  };
}

/** A certificate for this machine that signs itself, and its key: PEM. */
export async function createCertificate() {
  const directory = await mkdtemp(join(tmpdir(), "tilegate-tls-"));
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  try {
    await promisify(execFile)("openssl", [
      ...[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
      ],
      ...[
        "-subj",
        "/CN=tilegate",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "-keyout",
        key,
        "-out",
        cert,
      ],
    ]);
    return { cert: await readFile(cert), key: await readFile(key) };
  } finally {
    await rm(directory, { recursive: true });
  }
}
