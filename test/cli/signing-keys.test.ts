import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { findProgram } from "../../harness/servers.mjs";
import { type Environment, startTilegate, type Tilegate, tilegateArgs } from "../../harness/tilegate.mjs";
import { FIRST_DATASET_ID } from "../../src/demo/catalog.js";
import { createSigningKeyRing, type SigningKeys } from "../../src/domain/tile-tokens/key-ring.js";
import { createDataDirectory, temporaryDirectory } from "../harness/data-directory.js";
import { eventually } from "../harness/eventually.js";
import { createInstallation } from "../harness/installation.js";
import { postgresUrl } from "../harness/postgres.js";
import { createSecretVolume } from "../harness/secret-volume.js";

const RELOADED = "signing keys reloaded";
const UNCHANGED = "signing keys read again, unchanged";

const OLD = "the-old-secret-of-a-test";
const NEW = "the-new-secret-of-a-test";
const SEEDS = ["old", "new"].map((name) => Buffer.alloc(32, name));

interface Token {
  readonly sig: string;
  readonly exp: number;
  readonly scope: string;
}

/** A token over a connection of its own, which any worker may get. */
async function mint({ url }: Tilegate): Promise<Token> {
  const response = await fetch(`${url}/api/tiles/token/${FIRST_DATASET_ID}/`, {
    headers: { connection: "close" },
  });
  return (await response.json()) as Token;
}

function isOf(keys: Partial<SigningKeys>, { sig, exp, scope }: Token): boolean {
  const algorithm = keys.hmac ? "hmac" : "ed25519";
  return createSigningKeyRing(algorithm, { hmac: [], ed25519: [], ...keys }).verifies(scope, exp, sig);
}

const WITHOUT_KEYS = { TILE_SIGNING_KEYS: "", SEED_DEMO: "true" };

describe("the signing keys of a running service", () => {
  test("follow the file of the data directory, where it generated them", async () => {
    await using directory = await createDataDirectory();
    await using tilegate = await startTilegate({ DATA_DIR: directory.path });
    const before = await mint(tilegate);
    writeFileSync(join(directory.path, "tile-signing-keys"), `${NEW}\n`);
    await tilegate.logged(RELOADED);
    expect(isOf({ hmac: [NEW] }, before)).toBe(false);
    expect(isOf({ hmac: [NEW] }, await mint(tilegate))).toBe(true);
  });

  test("stay where the file can't be used, which SIGHUP tells again, and are reloaded once it can", async () => {
    await using installation = await createInstallation();
    await using directory = await temporaryDirectory();
    const file = join(directory.path, "keys");
    writeFileSync(file, OLD);
    const env = { ...installation.env, ...WITHOUT_KEYS, TILE_SIGNING_KEYS_FILE: file };
    await using tilegate = await startTilegate(env);
    const broken = "signing keys can't be read again, the ones before stay";
    writeFileSync(file, "hunter2");
    expect(await tilegate.logged(broken)).toMatchObject({ level: 50 });
    tilegate.signal("SIGHUP");
    await tilegate.logged(broken, 2);
    expect(isOf({ hmac: [OLD] }, await mint(tilegate))).toBe(true);
    writeFileSync(file, NEW);
    await tilegate.logged(RELOADED);
    expect(isOf({ hmac: [NEW] }, await mint(tilegate))).toBe(true);
    tilegate.signal("SIGTERM");
    const { code, stderr } = await tilegate.finished;
    expect(code).toBe(0);
    expect(stderr).not.toContain("hunter2");
  });

  test("are told to be in no file where they are not: SIGHUP ends nothing", async () => {
    await using installation = await createInstallation();
    await using tilegate = await startTilegate(installation.env);
    tilegate.signal("SIGHUP");
    await tilegate.logged("signing keys are in no file that could be read again");
    expect((await fetch(`${tilegate.url}/readyz`)).status).toBe(200);
  });
});

describe.skipIf(!postgresUrl())("the signing keys of two workers", () => {
  const WORKERS = 2;
  const EACH = Array.from({ length: 2 * WORKERS });

  async function start(env: Environment) {
    const tilegate = await startTilegate({ ...env, WORKERS: String(WORKERS), LOG_LEVEL: "debug" });
    onTestFinished(tilegate.stop);
    return tilegate;
  }

  test("of both algorithms follow Kubernetes' swap of a symlink in each of them", async () => {
    await using installation = await createInstallation();
    const [old = Buffer.of(), next = Buffer.of()] = SEEDS;
    await using volume = await createSecretVolume({ hmac: OLD, ed25519: old.toString("base64") });
    const tilegate = await start({
      ...installation.env,
      ...WITHOUT_KEYS,
      TILE_SIGNING_ALGORITHM: "ed25519",
      TILE_SIGNING_KEYS_FILE: volume.pathOf("hmac"),
      TILE_ED25519_KEYS_FILE: volume.pathOf("ed25519"),
    });
    for (const token of await Promise.all(EACH.map(() => mint(tilegate)))) {
      expect(isOf({ ed25519: [old] }, token)).toBe(true);
    }
    await volume.put({ hmac: NEW, ed25519: [next, old].map((seed) => seed.toString("base64")).join() });
    await tilegate.logged(RELOADED, WORKERS);
    for (const token of await Promise.all(EACH.map(() => mint(tilegate)))) {
      expect(isOf({ ed25519: [next] }, token)).toBe(true);
    }
    const lines = tilegate.log.filter(({ msg }) => msg === RELOADED);
    expect(lines.map(({ worker }) => worker).sort()).toEqual([1, 2]);
    const { kid } = createSigningKeyRing("ed25519", { hmac: [], ed25519: [next] }).publicKeys()[0] ?? {};
    for (const line of lines)
      expect(line).toMatchObject({ hmacKeys: 1, ed25519Keys: [kid, expect.any(String)] });
    const log = JSON.stringify(tilegate.log);
    for (const secret of [OLD, NEW, ...SEEDS.map((seed) => seed.toString("base64"))]) {
      expect(log).not.toContain(secret);
    }
  });

  test("are looked at on SIGHUP, which reaches them through the primary, a new one too", async () => {
    await using installation = await createInstallation();
    await using directory = await temporaryDirectory();
    const file = join(directory.path, "keys");
    writeFileSync(file, OLD);
    const tilegate = await start({ ...installation.env, ...WITHOUT_KEYS, TILE_SIGNING_KEYS_FILE: file });
    tilegate.signal("SIGHUP");
    await tilegate.logged(UNCHANGED, WORKERS);
    const { pid } = await tilegate.logged("worker started");
    process.kill(Number(pid), "SIGKILL");
    await tilegate.logged("worker serving");
    tilegate.signal("SIGHUP");
    await tilegate.logged(UNCHANGED, 2 * WORKERS);
    const told = tilegate.log.filter(({ msg }) => msg === UNCHANGED).map(({ worker }) => worker);
    expect(told.sort()).toEqual([1, 2, 2, 3]);
    expect(tilegate.log.filter(({ msg }) => msg === "worker died")).toHaveLength(1);
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test.skipIf(process.platform !== "linux" || findProgram("script") === undefined)(
  "SIGHUP ends the service where it says that the service's terminal was closed, as it ends everything there",
  async () => {
    await using installation = await createInstallation();
    await using directory = await temporaryDirectory();
    // Not to the terminal, where writing after its end would end it, too.
    const output = join(directory.path, "output");
    const node = [process.execPath, ...tilegateArgs(["serve"])].join(" ");
    const terminal = spawn(
      "script",
      ["-qec", `echo pid $$ > ${output}; exec ${node} >> ${output} 2>&1`, "/dev/null"],
      {
        env: { ...installation.env, PATH: process.env.PATH, PORT: "0", SHELL: "/bin/sh" },
        stdio: ["pipe", "ignore", "inherit"],
      },
    );
    const said = () => (existsSync(output) ? readFileSync(output, "utf8") : "");
    const pid = () => Number(/^pid (\d+)\n/.exec(said())?.[1]);
    onTestFinished(() => {
      terminal.kill("SIGKILL");
      if (pid() > 0 && isAlive(pid())) process.kill(pid(), "SIGKILL");
    });
    await eventually(async () => said().includes('"serving"'), 60);
    // Of somebody who wants a reload.
    process.kill(pid(), "SIGHUP");
    await eventually(async () => said().includes("signing keys are in no file"));
    const service = pid();
    terminal.kill("SIGKILL");
    await eventually(async () => !isAlive(service));
  },
);
