import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { type Environment, runTilegate, startTilegate, type Tilegate } from "../../harness/tilegate.mjs";
import { FIRST_DATASET_ID } from "../../src/demo/catalog.js";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { DatasetKind, DatasetVisibility } from "../../src/gen/proto/tilegate/v1/dataset_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { createDataDirectory, temporaryDirectory } from "../harness/data-directory.js";
import { createInstallation } from "../harness/installation.js";
import { createTestDatabase, postgresUrl } from "../harness/postgres.js";

const OPERATOR_TOKEN = "operator-token-for-tests";
const ID = "dadadada-0000-4000-8000-000000000001";

function clients({ url }: Tilegate, token = OPERATOR_TOKEN) {
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: "1.1",
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  return {
    accounts: createClient(AccountService, transport),
    datasets: createClient(DatasetService, transport),
  };
}

async function secretFiles(directory: string): Promise<Record<string, string>> {
  const contents = await readdir(directory, { withFileTypes: true });
  const names = contents.filter((entry) => entry.isFile()).map(({ name }) => name);
  const entries = names.map(async (name) => [name, await readFile(join(directory, name), "utf8")] as const);
  return Object.fromEntries(await Promise.all(entries));
}

describe("the first start", () => {
  test("makes everything, and greets with a curl that returns a real token", async () => {
    await using directory = await temporaryDirectory();
    const dataDir = join(directory.path, "data");
    await using tilegate = await startTilegate({ DATA_DIR: dataDir });
    const line = await tilegate.says(/^curl /);
    const operatorToken = (await readFile(join(dataDir, "operator-token"), "utf8")).trim();
    const serviceToken = (await readFile(join(dataDir, "demo-service-token"), "utf8")).trim();
    await tilegate.says(new RegExp(`listens on ${tilegate.url}$`));
    await tilegate.says(new RegExp(`Operator token +${operatorToken}$`));
    await tilegate.says(new RegExp(`Demo service token +${serviceToken}$`));

    const { stdout } = await promisify(execFile)("bash", ["-c", line]);
    expect(JSON.parse(stdout)).toEqual({
      tokens: {
        [FIRST_DATASET_ID]: {
          kind: "vector",
          sig: expect.stringMatching(/^[0-9a-f]{64}$/),
          exp: expect.any(Number),
          scope: "ne_countries",
          expires_in: expect.any(Number),
        },
      },
    });
    const { datasets } = await clients(tilegate, serviceToken).datasets.listDatasets({ limit: 100 });
    expect(datasets).toHaveLength(23);

    const names = Object.keys(await secretFiles(dataDir));
    expect(names.toSorted()).toEqual([
      "demo-service-token",
      "encryption-keys",
      "operator-token",
      "tile-signing-keys",
    ]);
    for (const name of names) {
      expect([name, (await stat(join(dataDir, name))).mode & 0o777]).toEqual([name, 0o600]);
    }
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700);

    tilegate.signal("SIGTERM");
    const { code, stderr } = await tilegate.finished;
    expect(code).toBe(0);
    for (const secret of [operatorToken, serviceToken]) expect(stderr).not.toContain(secret);
  });
});

describe("a later start", () => {
  test("finds the same secrets and leaves the catalog as it is", async () => {
    await using directory = await createDataDirectory();
    const env = { DATA_DIR: directory.path, OPERATOR_TOKEN };
    const first = await startTilegate(env);
    await clients(first).datasets.deleteDataset({ id: FIRST_DATASET_ID });
    const greeted = await first.says(/Demo service token/);
    const before = await secretFiles(directory.path);
    await first[Symbol.asyncDispose]();

    await using second = await startTilegate(env);
    expect(await second.says(/Demo service token/)).toBe(greeted);
    expect(await secretFiles(directory.path)).toEqual(before);
    const { datasets } = await clients(second).datasets.listDatasets({ limit: 100 });
    expect(datasets).toHaveLength(22);
    expect((await clients(second).accounts.listAccounts({})).accounts).toHaveLength(1);
  });

  test("without the demo stays empty and greets without it", async () => {
    await using directory = await createDataDirectory();
    await using tilegate = await startTilegate({
      DATA_DIR: directory.path,
      OPERATOR_TOKEN,
      SEED_DEMO: "false",
    });
    expect((await clients(tilegate).accounts.listAccounts({})).accounts).toEqual([]);
    tilegate.signal("SIGINT");
    const { code, stdout } = await tilegate.finished;
    expect(code).toBe(0);
    expect(stdout).toContain(`Tilegate listens on ${tilegate.url}`);
    expect(stdout).not.toMatch(/demo|curl/i);
  });

  test("in a directory that is in use is refused, and the first goes on", async () => {
    await using directory = await createDataDirectory();
    const env = { DATA_DIR: directory.path, SEED_DEMO: "false" };
    await using first = await startTilegate(env);
    const { code, stderr } = await runTilegate([], { PORT: "0", ...env });
    expect(code).toBe(1);
    expect(stderr).toBe(
      `tilegate: ${directory.path} is in use by another process: stop it, or choose another directory (DATA_DIR)\n`,
    );
    expect((await fetch(`${first.url}/readyz`)).status).toBe(200);
  });

  test("on a port that is taken is refused in one line", async () => {
    await using installation = await createInstallation();
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const env = { ...installation.env, PORT: String(port), LOG_LEVEL: "warn" };
    const { code, stderr } = await runTilegate([], env);
    other.close();
    expect(code).toBe(1);
    expect(stderr).toBe(`tilegate: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`);
  });
});

test("configuration that can't be used starts nothing: all problems in one message, exit code 2", async () => {
  await using directory = await temporaryDirectory();
  const dataDir = join(directory.path, "data");
  const env = {
    DATA_DIR: dataDir,
    PORT: "http",
    TILE_SIGNING_KEYS: "too-short",
    ENCRYPTION_KEYS: "not-base64",
    OPERATOR_TOKEN: "weak",
    JWT_SECRET: "weak-as-well",
    TENANCY: "many",
    TLS_CERT_FILE: join(directory.path, "absent.pem"),
  };
  const { code, stdout, stderr } = await runTilegate([], env);
  expect(code).toBe(2);
  expect(stdout).toBe("");
  const { DATA_DIR: _, ...wrong } = env;
  for (const name of Object.keys(wrong)) expect(stderr).toMatch(new RegExp(`^ +${name}\\b`, "m"));
  for (const secret of ["too-short", "not-base64", "weak"]) expect(stderr).not.toContain(secret);
  expect(existsSync(dataDir)).toBe(false);

  const missing = await runTilegate([], { DATABASE_URL: "postgres://127.0.0.1:1/none" });
  expect(missing.code).toBe(2);
  expect(missing.stderr).toContain("TILE_SIGNING_KEYS: required");
  expect(missing.stderr).toContain("ENCRYPTION_KEYS: required");
});

test("on SIGTERM a call in flight finishes, then the process ends with 0", async () => {
  await using installation = await createInstallation();
  await using tilegate = await startTilegate(installation.env);
  const body = JSON.stringify({ dataset_ids: [FIRST_DATASET_ID] });
  const socket = connect(Number(new URL(tilegate.url).port), "127.0.0.1");
  socket.write(
    "POST /api/tiles/tokens/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
      `Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  const [interim] = await once(socket, "data");
  expect(String(interim)).toContain("100 Continue");
  tilegate.signal("SIGTERM");
  await tilegate.says(/shutting down/);
  const received: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => received.push(chunk));
  socket.write(body);
  await once(socket, "end");
  const answer = Buffer.concat(received).toString();
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(answer).toContain("Dataset not found");
  expect((await tilegate.finished).code).toBe(0);
});

describe("what was acknowledged survives kill -9:", () => {
  async function killAfterCreation(env: Environment): Promise<void> {
    const first = await startTilegate({ OPERATOR_TOKEN, SEED_DEMO: "false", ...env });
    const { account } = await clients(first).accounts.createAccount({ name: "acme" });
    const { dataset } = await clients(first).datasets.createDataset({
      dataset: {
        id: ID,
        accountId: account?.id ?? "",
        kind: DatasetKind.VECTOR,
        tableName: "roads",
        visibility: DatasetVisibility.PUBLIC,
      },
    });
    first.signal("SIGKILL");
    expect((await first.finished).code).toBeNull();

    await using second = await startTilegate({ OPERATOR_TOKEN, SEED_DEMO: "false", ...env });
    expect(await clients(second).datasets.getDataset({ id: ID })).toMatchObject({ dataset: { ...dataset } });
  }

  test("embedded", async () => {
    await using directory = await createDataDirectory();
    await killAfterCreation({ DATA_DIR: directory.path });
  });

  test.skipIf(!postgresUrl())("PostgreSQL", async () => {
    await using database = await createTestDatabase();
    await killAfterCreation({
      DATABASE_URL: database.url,
      HOST: "127.0.0.1",
      TILE_SIGNING_KEYS: "a-signing-key-for-tests",
      ENCRYPTION_KEYS: Buffer.alloc(32, "k").toString("base64"),
    });
  });
});
