import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readConfig } from "../../src/config/config.js";
import { ConfigError } from "../../src/config/read.js";
import { ensureSecrets } from "../../src/config/secrets.js";

const files = ["encryption-keys", "operator-token", "tile-signing-keys"];

let parent: string;
let dataDir: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "tilegate-secrets-"));
  dataDir = join(parent, "data");
});
afterEach(() => rm(parent, { recursive: true }));

const ensure = (env: NodeJS.ProcessEnv = {}) =>
  ensureSecrets(readConfig({ DATA_DIR: dataDir, ...env }).secrets);

test("secrets are generated once and found again by the next start", async () => {
  const first = await ensure();
  expect(first.signingKeys).toHaveLength(1);
  expect(first.encryptionKeys.map((key) => key.length)).toEqual([32]);
  expect(await ensure()).toEqual(first);
});

test("each installation has secrets of its own", async () => {
  const one = await ensure();
  const other = await ensure({ DATA_DIR: join(parent, "other") });
  expect(other.signingKeys).not.toEqual(one.signingKeys);
  expect(other.encryptionKeys).not.toEqual(one.encryptionKeys);
  expect(other.operatorToken).not.toEqual(one.operatorToken);
});

test("nobody else on the machine can read them", async () => {
  await ensure();
  expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
  expect((await readdir(dataDir)).sort()).toEqual(files);
  for (const name of files) expect((await stat(join(dataDir, name))).mode & 0o777).toBe(0o600);
});

test("processes that start together agree, and leave nothing behind", async () => {
  // Each a few file operations behind the one before: in lockstep nobody would overtake anybody.
  const start = async (delay: number) => {
    for (let count = 0; count < delay; count += 1) await stat(parent);
    return ensure();
  };
  const [first, ...others] = await Promise.all(Array.from({ length: 20 }, (_, index) => start(index)));
  for (const other of others) expect(other).toEqual(first);
  expect((await readdir(dataDir)).sort()).toEqual(files);
});

test("the files have the form of the variables, so that they can move to another installation", async () => {
  const secrets = await ensure();
  const env = {
    DATABASE_URL: "postgres://db/tilegate",
    TILE_SIGNING_KEYS_FILE: join(dataDir, "tile-signing-keys"),
    ENCRYPTION_KEYS_FILE: join(dataDir, "encryption-keys"),
    OPERATOR_TOKEN_FILE: join(dataDir, "operator-token"),
  };
  expect(await ensure(env)).toEqual(secrets);
});

test("a given secret wins and is written nowhere", async () => {
  const secrets = await ensure({ OPERATOR_TOKEN: "operator-operator" });
  expect(secrets.operatorToken).toBe("operator-operator");
  expect(await readdir(dataDir)).not.toContain("operator-token");
});

test("with a database of its own the service makes no data directory", async () => {
  await ensure({
    DATABASE_URL: "postgres://db/tilegate",
    TILE_SIGNING_KEYS: "0123456789abcdef",
    ENCRYPTION_KEYS: Buffer.alloc(32).toString("base64"),
  });
  expect(await readdir(parent)).toEqual([]);
});

test("a key that the owner adds in front takes over, and the old one still verifies", async () => {
  const { signingKeys } = await ensure();
  await writeFile(join(dataDir, "tile-signing-keys"), `fedcba9876543210,${signingKeys[0]}\n`);
  expect((await ensure()).signingKeys).toEqual(["fedcba9876543210", signingKeys[0]]);
});

test.each([
  ["tile-signing-keys", "weak"],
  ["tile-signing-keys", ""],
  ["encryption-keys", "d2Vhaw=="],
  ["operator-token", "tgs_0123456789abcdef"],
])("a file %s that holds %j is refused, not replaced, and not quoted", async (name, content) => {
  await ensure();
  await writeFile(join(dataDir, name), `${content}\n`);
  const failure = await ensure().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(ConfigError);
  expect(String(failure)).toContain(join(dataDir, name));
  if (content !== "") expect(String(failure)).not.toContain(content);
  expect(await readFile(join(dataDir, name), "utf8")).toBe(`${content}\n`);
});

test("an unreadable file is a problem, not a reason for a new secret", async () => {
  // A directory, since permissions don't stop root.
  await mkdir(join(dataDir, "encryption-keys"), { recursive: true });
  await expect(ensure()).rejects.toThrow(
    `${join(dataDir, "encryption-keys")}: can't be read or made (EISDIR)`,
  );
});

test("a data directory that can't be made is a problem", async () => {
  await writeFile(join(parent, "file"), "");
  await chmod(join(parent, "file"), 0o600);
  await expect(ensure({ DATA_DIR: join(parent, "file", "data") })).rejects.toThrow(ConfigError);
});
