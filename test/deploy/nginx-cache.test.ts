import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent, type OutgoingHttpHeaders, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { freePort } from "../../harness/ports.mjs";
import { findProgram } from "../../harness/servers.mjs";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { ACCOUNT, PRIVATE, RASTER, RASTER_ELSEWHERE, startWithDatasets, VECTOR } from "../app/token-doors.js";
import { NOW, startTestApp, type TestApp } from "../harness/app.js";
import { eventually } from "../harness/eventually.js";

const BATCH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const OPEN = [VECTOR, RASTER, RASTER_ELSEWHERE];

/** Debian has it where administrators look for programs. */
const nginx = findProgram("nginx") ?? ["/usr/sbin/nginx"].find((path) => existsSync(path));
if (nginx === undefined && process.env.CI) throw new Error("nginx is not installed");
if (nginx === undefined) console.warn("SKIPPED: a cache in front of batches, since nginx is not installed");

interface Site extends AsyncDisposable {
  readonly port: number;
}

/** nginx with what docs/deployment.md says, but for its addresses. */
async function startNginx(program: string, upstream: string): Promise<Site> {
  const page = await readFile("docs/deployment.md", "utf8");
  const site = /```nginx\n(proxy_cache_path.*?)```/s.exec(page)?.[1] ?? "";
  const directory = await mkdtemp(join(tmpdir(), "tilegate-nginx-"));
  const port = await freePort();
  const inside = (name: string) => join(directory, name);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const here = Object.entries({
    "/var/cache/nginx/tilegate": inside("cache"),
    "listen 80;": `listen 127.0.0.1:${port};\n  add_header X-Cache $upstream_cache_status;`,
    "http://127.0.0.1:8080": upstream,
  });
  for (const [said] of here) expect(site).toContain(said);
  await writeFile(
    inside("nginx.conf"),
    `${process.getuid?.() === 0 ? "user root;" : ""}
daemon off;
worker_processes 2;
pid ${inside("nginx.pid")};
events {}
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${inside(name)};`).join("\n  ")}
  ${here.reduce((all, [said, is]) => all.replaceAll(said, is), site)}
}
`,
  );
  const child = spawn(program, ["-p", directory, "-e", "stderr", "-c", inside("nginx.conf")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "close");
  const said = text(child.stderr);
  const isUp = async () => {
    const socket = connect(port, "127.0.0.1");
    const up = await once(socket, "connect").then(
      () => true,
      () => child.exitCode !== null,
    );
    socket.destroy();
    return up;
  };
  await eventually(isUp);
  if (child.exitCode !== null) throw new Error(`nginx ended: ${await said}`);
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
      await rm(directory, { recursive: true });
    },
  };
}

describe.skipIf(nginx === undefined)("nginx' cache in front of batches", () => {
  let app: TestApp;
  let site: Site;
  const agent = new Agent({ keepAlive: true, maxSockets: 50 });

  beforeAll(async () => {
    // Tokens that live 20 s from now on: an answer is kept for 2 s, and for 2 more while another one comes.
    const lifetime = { TILE_TOKEN_TTL_SECONDS: "20", TILE_TOKEN_MIN_VALIDITY_SECONDS: "20" };
    app = await startWithDatasets(lifetime, startTestApp);
    site = await startNginx(nginx ?? "", app.url);
  });
  beforeEach(() => {
    app.now = NOW;
  });
  afterAll(async () => {
    agent.destroy();
    await site?.[Symbol.asyncDispose]();
    await app?.[Symbol.asyncDispose]();
  });

  /** @param nonce Makes a URL of its own: a test begins with nothing in the cache. */
  async function ask(ids: readonly string[], nonce: string, headers: OutgoingHttpHeaders = {}) {
    const message = JSON.stringify({ datasetIds: ids });
    const path = `${BATCH}?${new URLSearchParams({ connect: "v1", encoding: "json", message, nonce })}`;
    const sent = request({ host: "127.0.0.1", port: site.port, path, headers, agent }).end();
    const [response] = await once(sent, "response");
    const { statusCode, headers: received } = response;
    const { tokens } = JSON.parse(await text(response));
    return {
      status: statusCode,
      cache: received["x-cache"],
      cors: received["access-control-allow-origin"],
      tokens,
    };
  }

  /** Batches that reached the service: counted when their answers are out. */
  const originCalls = () => app.log.filter((line) => line.includes("BatchGetTileTokens")).length;

  /** As browsers differ from each other. */
  const viewer = (index: number): OutgoingHttpHeaders => ({
    "user-agent": `browser ${index}`,
    "accept-encoding": ["gzip", "gzip, br", "br, zstd", "identity"][index % 4],
    "accept-language": `x-${index}`,
    cookie: `session=${index}`,
    "x-request-id": `viewer-${index}`,
    ...(index % 3 > 0 && { origin: `https://site-${index}.example` }),
  });

  test("any number of viewers at once, on any page, in any browser, cost one call", async () => {
    const before = originCalls();
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, index) => ask(OPEN, "at once", viewer(index))),
    );
    expect(new Set(answers.map(({ status, cors }) => `${status} ${cors}`))).toEqual(new Set(["200 *"]));
    expect(new Set(answers.map(({ tokens }) => JSON.stringify(tokens))).size).toBe(1);
    expect(Object.keys(answers[0]?.tokens ?? {}).toSorted()).toEqual(OPEN.toSorted());
    await eventually(async () => originCalls() > before);
    expect(originCalls() - before).toBe(1);
  });

  test("while they go on asking, no more than one call a second, and yet the answer is renewed", async () => {
    const before = originCalls();
    const began = performance.now();
    const caches = new Map<string, number>();
    async function watch(index: number) {
      while (originCalls() - before < 3 && performance.now() - began < 20_000) {
        const { status, cache } = await ask(OPEN, "going on", viewer(index));
        expect(status).toBe(200);
        caches.set(String(cache), (caches.get(String(cache)) ?? 0) + 1);
      }
    }
    await Promise.all(Array.from({ length: 4 }, (_, index) => watch(index)));
    const seconds = (performance.now() - began) / 1_000;
    const calls = originCalls() - before;
    expect(calls).toBeGreaterThanOrEqual(3);
    expect(calls).toBeLessThanOrEqual(Math.ceil(seconds));
    expect(caches.get("HIT")).toBeGreaterThan(100);
  });

  test("who sends a credential gets the answer of that, which no other gets", async () => {
    const { token } = await app.useCases.apiKeys.create(OPERATOR, { datasetIds: [PRIVATE] }, ACCOUNT);
    const ids = [VECTOR, PRIVATE];
    const key = { "x-api-key": token };
    for (let times = 0; times < 2; times += 1) {
      expect((await ask(ids, "private", key)).tokens[PRIVATE]).toHaveProperty("vector");
      const { tokens, cache } = await ask(ids, "private");
      expect([tokens[PRIVATE], cache]).toEqual([{ error: expect.anything() }, "MISS"]);
    }
    // Nor is a refused credential answered by what everybody gets.
    expect((await ask(OPEN, "refused")).cache).toBe("MISS");
    expect((await ask(OPEN, "refused")).cache).toBe("HIT");
    for (const headers of [{ "x-api-key": "tgk_x" }, { authorization: "Bearer x" }])
      expect((await ask(OPEN, "refused", headers)).status).toBe(401);
    expect(await ask(OPEN, "refused", key)).toMatchObject({ status: 200, cache: "MISS" });
    expect((await ask(OPEN, "refused")).cache).toBe("HIT");
  });
});
