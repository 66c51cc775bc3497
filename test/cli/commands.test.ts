import { execFileSync } from "node:child_process";
import { readFile, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runTilegate, startTilegate } from "../../harness/tilegate.mjs";
import { runCommand } from "../harness/command.js";
import {
  createDataDirectory,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../harness/data-directory.js";
import { createInstallation, type TestInstallation } from "../harness/installation.js";

const PRIVATE = "dadadada-0000-4000-8000-000000000001";
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;

let directory: TemporaryDirectory;
let installation: TestInstallation;
beforeAll(async () => {
  directory = await temporaryDirectory();
  installation = await createInstallation();
  await tilegate("account", "create", "--name", "acme");
});
afterAll(async () => {
  await installation[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

const tilegate = (...args: string[]) => runCommand(args, installation.env);

async function succeed(...args: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await tilegate(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

async function fail(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await tilegate(...args);
  expect(code).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).not.toMatch(/\n\s+at |node_modules/);
  return stderr;
}

async function file(content: unknown): Promise<string> {
  const path = join(directory.path, "import.json");
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const importing = async (content: unknown, account = "acme") =>
  ["datasets", "import", await file(content), "--account", account] as const;

const row = (tableName: string) => ({ kind: "vector", tableName, visibility: "public", status: "published" });

test.each([
  [[], "serve"],
  [["serve"], "run the service"],
  [["migrate"], "--json"],
  [["account"], "create"],
  [["account", "create"], "--name <name>"],
  [["service-token"], "create"],
  [["service-token", "create"], "--account <id or name>"],
  [["datasets"], "import"],
  [["datasets", "import"], "<FILE.json>"],
])("tilegate %j --help explains it and does nothing", async (command, expected) => {
  const { code, stdout, stderr } = await runCommand([...command, "--help"], {
    DATA_DIR: "/nonexistent/directory",
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain(`Usage: ${["tilegate", ...command].join(" ")}`);
  expect(stdout).toContain(expected);
});

test("--version prints the package's", async () => {
  const { version } = JSON.parse(await readFile("package.json", "utf8")) as { version: string };
  expect(await tilegate("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

test.each([
  [["bogus"], "bogus|too many arguments"],
  [["account", "bogus"], "bogus"],
  [["--bogus"], "--bogus"],
  [["account", "create"], "--name"],
  [["account", "create", "--name", "x", "--id", "not-a-uuid"], "UUID"],
  [["service-token", "create", "--account", "acme", "--expires", "soon"], "2027-01-31T00:00:00Z"],
  [["datasets", "import", "--account", "acme"], "FILE.json"],
])("tilegate %j is refused, with a hint", async (args, expected) => {
  expect(await fail(...args)).toMatch(new RegExp(expected));
});

test("migrate brings an empty database up to date, once", async () => {
  await using empty = await temporaryDirectory();
  const migrate = async () => {
    const { code, stdout } = await runCommand(["migrate", "--json"], { DATA_DIR: empty.path });
    expect(code).toBe(0);
    return JSON.parse(stdout) as { applied: string }[];
  };
  expect((await migrate()).length).toBeGreaterThan(0);
  expect(await migrate()).toEqual([]);
});

describe("account create", () => {
  test("prints a table, or JSON", async () => {
    const { code, stdout } = await tilegate("account", "create", "--name", "printed");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ID +NAME +CREATE_TIME\n/);
    expect(stdout).toMatch(UUID);
    const id = "ACC0ACC0-0000-4000-8000-000000000009";
    expect(await succeed("account", "create", "--name", "json", "--id", id)).toEqual({
      id: id.toLowerCase(),
      name: "json",
      create_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  });

  test("refuses a name that is taken or too long", async () => {
    expect(await fail("account", "create", "--name", "acme")).toBe("tilegate: name: is taken\n");
    expect(await fail("account", "create", "--name", "x".repeat(101))).toContain("name");
    expect(await fail("account", "create", "--name", "")).toContain("name");
  });
});

describe("datasets import", () => {
  test("creates, and done again updates", async () => {
    const args = await importing([row("roads"), row("rivers")]);
    const { code, stdout, stderr } = await tilegate(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe("CREATED  UPDATED\n2        0\n");
    expect(await succeed(...args)).toEqual({ created: 0, updated: 2 });
    expect(await succeed(...(await importing({ datasets: [row("lakes")] })))).toEqual({
      created: 1,
      updated: 0,
    });
  });

  test("imports nothing when rows are bad, and names each by index and field", async () => {
    const stderr = await fail(
      ...(await importing([
        row("good"),
        { ...row("bad"), visibility: "secret" },
        { ...row("bad"), title: "x".repeat(300) },
        "not an object",
        { ...row("bad"), bogus: 1 },
        { ...row("bad"), tableName: "a b" },
        { kind: "vector", visibility: "public" },
        { ...row("bad"), kind: undefined },
        { ...row("bad"), owner: "\0" },
      ])),
    );
    expect(stderr).toContain("nothing was imported");
    for (const named of [
      ...["datasets[1]", "datasets[2].title", "datasets[3]", "datasets[4]", "datasets[5].table_name"],
      ...["datasets[7].kind", "datasets[8].owner"],
    ]) {
      expect(stderr).toContain(named);
    }
    expect(await succeed(...(await importing([row("good")])))).toEqual({ created: 1, updated: 0 });
  });

  test("names a row that breaks a rule between fields", async () => {
    const noTable = [row("fine"), { kind: "vector", visibility: "public" }];
    expect(await fail(...(await importing(noTable)))).toContain("datasets[1].table_name");
    expect(await fail(...(await importing([row("twice"), row("twice")])))).toContain(
      "datasets[1].table_name",
    );
  });

  test("takes far more rows than a request may have", async () => {
    const rows = Array.from({ length: 1_234 }, (_, i) => row(`many_${i}`));
    expect(await succeed(...(await importing(rows)))).toEqual({ created: 1_234, updated: 0 });
  });

  test("terminal escapes: what messages quote of the file is shown, not obeyed, and begins no line of its own", async () => {
    const hostile = "\u001b[2J\n\u009b\u202e";
    const files: [content: unknown, lines: number][] = [
      [
        [
          { ...row("bad"), [hostile]: 1 },
          { ...row("bad"), kind: hostile },
        ],
        3,
      ],
      [hostile, 1],
    ];
    for (const [content, lines] of files) {
      const stderr = await fail(...(await importing(content)));
      expect(stderr).toContain("\\u001b[2J\\u000a\\u009b");
      expect(stderr.match(/[\p{Cc}\p{Bidi_Control}]/gu)).toEqual(Array(lines).fill("\n"));
    }
  });

  test("takes a file that begins with a byte order mark, as editors write it", async () => {
    const text = JSON.stringify([row("marked")]);
    expect(await succeed(...(await importing(`\ufeff${text}`)))).toEqual({ created: 1, updated: 0 });
    expect(await fail(...(await importing(`\ufeff\ufeff${text}`)))).toContain("not valid JSON");
  });

  test("waiting for ever: what is no regular file is refused at once", async () => {
    const [fifo, link] = [join(directory.path, "fifo"), join(directory.path, "link")];
    execFileSync("mkfifo", [fifo]);
    await symlink("/dev/zero", link);
    for (const path of [fifo, link, "/dev/zero", directory.path]) {
      expect(await fail("datasets", "import", path, "--account", "acme")).toBe(
        "tilegate: FILE: is not a regular file\n",
      );
    }
  });

  test("picking one of two members of one name: the file is refused", async () => {
    const text = JSON.stringify([row("twice")]).replace("{", '{"visibility":"private",');
    expect(await fail(...(await importing(text)))).toBe(
      'tilegate: FILE: has the member "visibility" twice in one object\n',
    );
  });

  test("follows a link to a regular file", async () => {
    const link = join(directory.path, "link to a file");
    await symlink(await file([row("linked")]), link);
    expect(await succeed("datasets", "import", link, "--account", "acme")).toMatchObject({ created: 1 });
  });

  test("filling the memory: a file of more than 64 MiB is refused unread", async () => {
    const path = await file("[]");
    await truncate(path, 64 * 2 ** 20 + 1);
    expect(await fail("datasets", "import", path, "--account", "acme")).toContain(
      "FILE: is larger than 64 MiB",
    );
    await truncate(path, 64 * 2 ** 20);
    expect(await fail("datasets", "import", path, "--account", "acme")).toContain("not valid JSON");
  });

  test("refuses text that is not UTF-8, rather than to guess what it says", async () => {
    const path = await file("");
    for (const bytes of [Buffer.from("\ufeff[]", "utf16le"), Buffer.from('[{"title":"Ä"}]', "latin1")]) {
      await writeFile(path, bytes);
      expect(await fail("datasets", "import", path, "--account", "acme")).toContain("FILE: is not UTF-8");
    }
  });

  test("says what is wrong with the file or the account", async () => {
    expect(await fail(...(await importing("{")))).toContain("not valid JSON");
    expect(await fail(...(await importing("")))).toContain("FILE: is empty");
    expect(await fail(...(await importing("7")))).toContain("array of datasets");
    expect(await fail(...(await importing("[]")))).toContain("no dataset");
    expect(await fail(...(await importing([row("x")], "nobody")))).toBe("tilegate: account not found\n");
    expect(await fail("datasets", "import", "/nonexistent.json", "--account", "acme")).toContain("ENOENT");
  });
});

test("a service token of the command line works against a server that is started afterwards", async () => {
  await succeed(...(await importing([{ ...row("secret"), id: PRIVATE, visibility: "private" }])));
  const created = (await succeed("service-token", "create", "--account", "acme", "--name", "ci")) as {
    token: string;
  };
  expect(created).toMatchObject({
    id: expect.stringMatching(UUID),
    name: "ci",
    token: expect.stringMatching(/^tgs_/),
  });
  await using server = await startTilegate(installation.env);
  const get = (headers: Record<string, string>) =>
    fetch(`${server.url}/api/tiles/token/${PRIVATE}/`, { headers });
  expect((await get({})).status).toBe(401);
  const response = await get({ authorization: `Token ${created.token}` });
  expect(await response.json()).toMatchObject({ kind: "vector", scope: "secret" });
});

test("the embedded database belongs to the service while it runs: a command is refused", async () => {
  await using data = await createDataDirectory();
  const env = { DATA_DIR: data.path, SEED_DEMO: "false" };
  await using _server = await startTilegate(env);
  const { code, stderr } = await runTilegate(["account", "create", "--name", "late"], env);
  expect(code).toBe(1);
  expect(stderr).toContain("is in use by another process");
});
