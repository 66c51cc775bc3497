import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createPrismaAccountStore } from "../../src/stores/prisma/account-store.js";
import { openDatabase } from "../../src/stores/prisma/database.js";
import { DirectoryInUseError, lockDirectory } from "../../src/stores/prisma/directory-lock.js";
import { createDataDirectory, temporaryDirectory } from "../harness/data-directory.js";
import { insertAccount, newAccount, writerTo } from "./store-fixture.js";
import { startWriter } from "./writer.js";

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("the embedded database", () => {
  test("a second process is refused while the first lives, and what the first wrote survives its kill -9", async () => {
    await using directory = await createDataDirectory();
    const options = { dataDir: directory.path };
    const writer = await startWriter(options, "survivor");
    try {
      await expect(openDatabase(options)).rejects.toThrow(`${directory.path} is in use by another process`);
    } finally {
      await writer.kill9();
    }
    await using database = await openDatabase(options);
    expect(await createPrismaAccountStore(database).readByName("survivor")).toBeDefined();
  });

  test("creation leaves what only its owner can read, also after one that was cut off", async () => {
    await using directory = await temporaryDirectory();
    const dataDir = join(directory.path, "data");
    const cutOff = join(dataDir, "database.new-abc123");
    await mkdir(cutOff, { recursive: true, mode: 0o700 });
    await writeFile(join(cutOff, "PG_VERSION"), "17");
    await (await openDatabase({ dataDir }))[Symbol.asyncDispose]();
    expect((await readdir(dataDir)).sort()).toEqual(["database", "lock.1"]);
    for (const path of ["database", "database/PG_VERSION", "database/global", "lock.1"]) {
      expect((await stat(join(dataDir, path))).mode & 0o077, path).toBe(0);
    }
  });

  test("times are kept whatever the time zone of the machine that created it", async () => {
    await using directory = await createDataDirectory();
    // As creation on a machine in Tokyo does.
    await appendFile(join(directory.path, "database/postgresql.conf"), "\ntimezone = 'Asia/Tokyo'\n");
    await using database = await openDatabase({ dataDir: directory.path });
    const account = newAccount();
    await insertAccount(writerTo(database), account);
    expect(
      await database.prisma.$queryRaw`SELECT extract(epoch FROM created)::float8 AS seconds FROM accounts`,
    ).toEqual([{ seconds: account.created.getTime() / 1000 }]);
  });

  test("a transaction that waited too long for its turn does not block the ones after it", async () => {
    await using directory = await createDataDirectory();
    await using database = await openDatabase({ dataDir: directory.path });
    let late: Promise<unknown> | undefined;
    await database.transaction(async () => {
      late = database.transaction(async () => {}, { maxWait: 1 });
      await expect(late).rejects.toMatchObject({ kind: "unavailable" });
    });
    await database.ping();
  });
});

describe("the lock of a directory", () => {
  test("is exclusive until it is released, also within one process", async () => {
    await using directory = await temporaryDirectory();
    const lock = await lockDirectory(directory.path);
    await expect(lockDirectory(directory.path)).rejects.toBeInstanceOf(DirectoryInUseError);
    await lock[Symbol.asyncDispose]();
    await using _again = await lockDirectory(directory.path);
  });

  test("leaves one file, however often it is taken", async () => {
    await using directory = await temporaryDirectory();
    for (let round = 1; round <= 3; round++) {
      const lock = await lockDirectory(directory.path);
      await lockDirectory(directory.path).catch(() => {});
      await lock[Symbol.asyncDispose]();
      expect(await readdir(directory.path)).toEqual([`lock.${round}`]);
    }
  });

  test("works where the path is too long for a socket's address", async () => {
    await using directory = await temporaryDirectory();
    vi.stubEnv("TMPDIR", directory.path);
    const deep = join(directory.path, "d".repeat(120));
    await mkdir(deep);
    const lock = await lockDirectory(deep);
    await expect(lockDirectory(deep)).rejects.toBeInstanceOf(DirectoryInUseError);
    await lock[Symbol.asyncDispose]();
    await using _again = await lockDirectory(deep);
  });

  test("of a killed process goes to exactly one of many that want it", async () => {
    await using directory = await temporaryDirectory();
    for (let round = 0; round < 10; round++) {
      await leaveDeadSocket(join(directory.path, `lock.${100 * (round + 1)}`));
      const contenders = await Promise.allSettled(
        Array.from({ length: 10 }, () => lockDirectory(directory.path)),
      );
      const owners = contenders.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      const refusals = contenders.flatMap((outcome) =>
        outcome.status === "rejected" ? [outcome.reason] : [],
      );
      expect(owners).toHaveLength(1);
      for (const refusal of refusals) expect(refusal).toBeInstanceOf(DirectoryInUseError);
      for (const owner of owners) await owner[Symbol.asyncDispose]();
    }
  });

  test("is not held by a socket below the highest", async () => {
    await using directory = await temporaryDirectory();
    await using _stranger = await listenOn(join(directory.path, "lock.1"));
    await leaveDeadSocket(join(directory.path, "lock.2"));
    await using _lock = await lockDirectory(directory.path);
    await expect(lockDirectory(directory.path)).rejects.toBeInstanceOf(DirectoryInUseError);
  });
});

async function listenOn(path: string): Promise<AsyncDisposable> {
  const server = createServer().listen(path);
  await once(server, "listening");
  return server;
}

/** What a process that listened on `path` leaves when it is killed. */
async function leaveDeadSocket(path: string): Promise<void> {
  const script = `require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
  await once(spawn(process.execPath, ["-e", script, path]), "exit");
  expect((await stat(path)).isSocket()).toBe(true);
}
