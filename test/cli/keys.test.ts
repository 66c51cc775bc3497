import { randomBytes } from "node:crypto";
import pino from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openBackend, type UseCases } from "../../src/compose/backend.js";
import { readConfig } from "../../src/config/config.js";
import type { ApiKeyChange } from "../../src/domain/api-keys/settings.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { generateSecret } from "../../src/domain/identity/secret.js";
import { aVectorDataset } from "../harness/app.js";
import { runCommand } from "../harness/command.js";
import { createInstallation, type TestInstallation } from "../harness/installation.js";

// A command opens the database, which takes a second or, on a busy machine, many; and some tests need seven commands.
vi.setConfig({ testTimeout: 180_000 });

const UNKNOWN_ID = "00000000-0000-4000-8000-000000000000";
/** Long before any run of these tests. */
const PAST = new Date("2020-01-01T00:00:00Z");

interface PrintedKey {
  readonly id: string;
  readonly token: string;
}

let installation: TestInstallation;
let accountId: string;
let unlistedDatasetId: string;
let encryptionKeys: string;

beforeAll(async () => {
  installation = await createInstallation();
  encryptionKeys = newEncryptionKey();
  await inProcess(async ({ accounts, datasets }) => {
    accountId = (await accounts.create(OPERATOR, { name: "acme" })).id;
    const dataset = { ...aVectorDataset, visibility: "private", tableName: "parcels", accountId } as const;
    unlistedDatasetId = (await datasets.create(OPERATOR, dataset)).id;
  });
});
afterAll(() => installation[Symbol.asyncDispose]());

const newEncryptionKey = () => randomBytes(32).toString("base64");

const environment = (keys = encryptionKeys) => ({
  ...installation.env,
  ENCRYPTION_KEYS: keys,
});

/** For what the command line can't bring about, such as a key that expired long ago. */
async function inProcess<T>(work: (useCases: UseCases) => Promise<T>): Promise<T> {
  const log = pino({ level: "silent" });
  const config = readConfig(environment());
  await using backend = await openBackend({ config, clock: () => PAST, log });
  return await work(backend.useCases);
}

async function createKey(settings: ApiKeyChange = {}): Promise<PrintedKey> {
  const { key, token } = await inProcess(({ apiKeys }) => apiKeys.create(OPERATOR, settings, accountId));
  return { id: key.id, token };
}

const keys = (...args: string[]) => runCommand(["keys", ...args], environment());

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await keys(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining("tilegate:") });
  return JSON.parse(stdout) as T;
}

/** What it says on standard error, which is no stack trace. */
async function fails(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await keys(...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).not.toMatch(/\n\s+at |node_modules/);
  return stderr;
}

test.each([
  [[], "manage publishable API keys"],
  [["list"], "--cursor"],
  [["create"], "--origin"],
  [["rotate"], "--grace"],
  [["delete"], "30 days"],
  [["verify"], "which rule refuses"],
  [["reencrypt"], "ENCRYPTION_KEYS"],
])("keys %j --help explains it", async (command, expected) => {
  const { code, stdout, stderr } = await keys(...command, "--help");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain(`Usage: ${["tilegate keys", ...command].join(" ")}`);
  expect(stdout).toContain(expected);
});

describe("keys create", () => {
  test("prints the key as JSON, and list prints it again", async () => {
    const options = ["--name", "Shop", "--description", "d", "--user-agent", "ShopApp/"];
    const origins = ["--origin", "shop.example.com", "--origin", "?"];
    const addresses = ["--allowed-ip", "192.0.2.0/24", "--allowed-ip", "2001:db8::1"];
    const restrictions = [...addresses, "--dataset", unlistedDatasetId, "--expires", "2999-01-31T00:00:00Z"];
    const created = await json<PrintedKey>(
      ...["create", "--account", "acme", ...options, ...origins, ...restrictions],
    );
    expect(created).toMatchObject({
      name: "Shop",
      token: expect.stringMatching(/^tgk_[0-9A-Za-z]{33}$/),
      origins: "shop.example.com ?",
      allowed_ips: "192.0.2.0/24 2001:db8::1",
      enabled: true,
      expire_time: "2999-01-31T00:00:00.000Z",
    });
    const listed = await json<PrintedKey[]>("list", "--account", accountId);
    expect(listed[0]).toEqual(created);
    const source = ["--origin", "https://shop.example.com", "--client-ip", "::ffff:192.0.2.7"];
    const request = [...source, "--dataset", unlistedDatasetId, "--user-agent", "ShopApp/2"];
    expect(await json("verify", created.token, ...request)).toEqual({
      valid: true,
      key: created.id,
      expire_time: "2999-01-31T00:00:00.000Z",
    });
  });

  test("prints a table, with a generated name", async () => {
    const { code, stdout } = await keys("create", "--account", "acme");
    expect(code).toBe(0);
    const [head = "", row = "", ...rest] = stdout.split("\n");
    expect(rest).toEqual([""]);
    expect(head).toMatch(
      /^ID +NAME +TOKEN +ORIGINS +ALLOWED_IPS +ENABLED +EXPIRE_TIME +CREATE_TIME +LAST_USED_TIME$/,
    );
    expect(row.slice(head.indexOf("NAME"))).toMatch(/^Key \d{4}-\d\d-\d\d /);
    expect(row.slice(head.indexOf("TOKEN"))).toMatch(/^tgk_\w{33} +- +- +true +- /);
  });

  test.each([
    [
      "an origin with a scheme",
      ["--origin", "ok.example.com", "--origin", "https://x.example.com"],
      "origins[1]",
    ],
    ["a bad IP range", ["--allowed-ip", "192.0.2.7", "--allowed-ip", "192.0.2.0/33"], "allowed_ips[1]"],
    ["a dataset that is no UUID", ["--dataset", "parcels"], "dataset_ids[0]"],
    ["a dataset that does not exist", ["--dataset", UNKNOWN_ID], UNKNOWN_ID],
    ["a time that is none", ["--expires", "soon"], "2027-01-31T00:00:00Z"],
    ["an expiry in the past", ["--expires", "2020-01-01T00:00:00Z"], "expire_time"],
    ["an account that does not exist", ["--account", "nobody"], "account not found"],
  ])("refuses %s and names it", async (_, options, named) => {
    expect(await fails("create", "--account", "acme", ...options)).toContain(named);
  });
});

test("keys list goes on where the page before ended", async () => {
  await inProcess(async ({ apiKeys }) => {
    for (let made = 0; made < 12; made++) await apiKeys.create(OPERATOR, {}, accountId);
  });
  const first = await keys("list", "--account", "acme", "--limit", "10", "--json");
  const [, cursor = ""] = /--cursor (\S+)/.exec(first.stderr) ?? [];
  const second = await keys("list", "--account", "acme", "--limit", "100", "--cursor", cursor, "--json");
  const pages = [first, second].map(({ stdout }) => JSON.parse(stdout) as PrintedKey[]);
  const ids = pages.flat().map(({ id }) => id);
  expect(pages[0]).toHaveLength(10);
  expect(ids).toHaveLength(new Set(ids).size);
  expect(first.stderr).toMatch(new RegExp(`^10 of ${ids.length} keys; the next page: --cursor `));
  expect(second.stderr).toBe(`${ids.length - 10} of ${ids.length} keys\n`);
});

test("terminal escapes: a tenant's key names reach the operator's terminal as text, and a program as they are", async () => {
  const name = "\u001b]0;owned\u0007\r\u009b2J\u202ecba";
  const { id } = await createKey({ name });
  const { stdout } = await keys("list", "--account", "acme");
  expect(stdout).toContain("\\u001b]0;owned\\u0007\\u000d\\u009b2J\\u202ecba");
  expect(stdout.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
  const listed = await json<{ id: string; name: string }[]>("list", "--account", "acme");
  expect(listed.find((key) => key.id === id)?.name).toBe(name);
});

test("terminal escapes: neither do arguments that a message quotes", async () => {
  for (const args of [
    ["rotate", "\u001b[2J"],
    ["\u001b[2J"],
    ["list", "--account", "a", "--limit", "\u009b"],
  ]) {
    expect((await fails(...args)).replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  }
});

test("keys list refuses a limit that is none", async () => {
  expect(await fails("list", "--account", "acme", "--limit", "9")).toContain("limit");
  expect(await fails("list", "--account", "acme", "--limit", "many")).toContain("whole number");
});

test("keys rotate gives a new token, and --grace 0 ends the old one at once", async () => {
  const old = await createKey();
  const rotated = await json<PrintedKey>("rotate", old.id, "--grace", "0");
  expect(rotated.id).toBe(old.id);
  expect(rotated.token).not.toBe(old.token);
  expect(await json("verify", rotated.token)).toMatchObject({ valid: true });
  expect((await keys("verify", old.token)).code).toBe(1);
});

test("keys rotate refuses a grace of more than 30 days, and an id that is none or unknown", async () => {
  expect(await fails("rotate", UNKNOWN_ID, "--grace", "2592001")).toContain("30 days");
  expect(await fails("rotate", "x")).toContain("UUID");
  expect(await fails("rotate", UNKNOWN_ID)).toContain("API key not found");
});

test("keys delete takes effect at once", async () => {
  const { id, token } = await createKey();
  expect(await json("delete", id)).toMatchObject({ id });
  expect((await keys("verify", token)).code).toBe(1);
});

describe("keys verify says which rule refused, and why", () => {
  const long = { expireTime: new Date("2020-01-02T00:00:00Z") };
  const shop = { origins: ["shop.example.com"] };
  test.each<[string, ApiKeyChange, string[], RegExp]>([
    ["disabled", { enabled: false }, [], /disabled/],
    ["expired", long, [], /expired: 2020-01-02T00:00:00\.000Z/],
    ["origin", shop, ["--origin", "https://evil.com", "--referer", "https://shop.example.com/"], /Origin/],
    ["user_agent", { userAgent: "ShopApp/" }, ["--user-agent", "shopapp/"], /User-Agent/],
    ["ip", { allowedIps: ["192.0.2.0/24"] }, ["--client-ip", "192.0.3.1"], /allowed IPs/],
    ["ip", { allowedIps: ["192.0.2.0/24"] }, [], /unknown/],
  ])("%s", async (refusal, settings, request, why) => {
    const { id, token } = await createKey(settings);
    const { code, stdout, stderr } = await keys("verify", token, ...request, "--json");
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    const verdict: unknown = JSON.parse(stdout);
    expect(verdict).toEqual({ valid: false, refusal, why: expect.stringMatching(why), key: id });
  });

  test("dataset, as a table", async () => {
    const { id, token } = await createKey();
    const { code, stdout, stderr } = await keys("verify", token, "--dataset", unlistedDatasetId);
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    const [head, row] = stdout.split("\n");
    expect(head).toMatch(/^VALID +REFUSAL +WHY +KEY$/);
    expect(row).toMatch(new RegExp(`^false +dataset +the key does not open the dataset +${id}$`));
  });

  test("not_found, for a token that was never issued", async () => {
    const { code, stdout } = await keys("verify", generateSecret("tgk_"), "--json");
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({ valid: false, refusal: "not_found", why: expect.any(String) });
  });
});

describe("keys reencrypt", () => {
  const reencrypt = async (ring: string) => {
    const { code, stdout, stderr } = await runCommand(["keys", "reencrypt", "--json"], environment(ring));
    return { code, stderr, counts: JSON.parse(stdout) as Record<string, number> };
  };
  const listWith = (ring: string) =>
    runCommand(["keys", "list", "--account", "acme", "--limit", "100", "--json"], environment(ring));

  test("moves all keys to the newest encryption key, which then suffices", async () => {
    const deleted = await createKey();
    const { id, token: previous } = await createKey();
    await json("delete", deleted.id);
    await json("rotate", id);
    const old = encryptionKeys;
    const before = await listWith(old);
    const added = newEncryptionKey();

    const { code, stderr, counts } = await reencrypt(`${added},${old}`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(counts).toEqual({ scanned: counts.scanned, reencrypted: counts.scanned, unreadable: 0 });
    expect(counts.scanned).toBeGreaterThan((JSON.parse(before.stdout) as unknown[]).length);

    encryptionKeys = added;
    expect(await listWith(added)).toEqual(before);
    expect(await json("verify", previous)).toMatchObject({ valid: true, key: id });
    expect((await reencrypt(added)).counts).toEqual({ ...counts, reencrypted: 0 });
  });

  test("names every key that no encryption key opens, leaves it as it is, and fails", async () => {
    const { id, token } = await createKey();
    const { code, stderr, counts } = await reencrypt(newEncryptionKey());
    expect(code).toBe(1);
    expect(counts).toMatchObject({ reencrypted: 0, unreadable: counts.scanned });
    expect(stderr).toContain(`API key ${id} is encrypted under a key that is not in ENCRYPTION_KEYS`);
    expect((await listWith(encryptionKeys)).stdout).toContain(token);
  });

  test("is not what helps with a wrong encryption key: then a list shows no token, and says so", async () => {
    await createKey();
    const { code, stdout, stderr } = await listWith(newEncryptionKey());
    const listed = JSON.parse(stdout) as PrintedKey[];
    expect(code).toBe(0);
    expect(listed.map(({ token }) => token)).toEqual(listed.map(() => null));
    expect(stderr).toContain("is encrypted under a key that is not in ENCRYPTION_KEYS");
    expect(stderr).toContain(`; ${listed.length} can't be decrypted: rotate or delete them`);
    const table = await runCommand(["keys", "list", "--account", "acme"], environment(newEncryptionKey()));
    expect(table.stdout).toMatch(/ \(unreadable\) /);
  });

  test("leaves what can't be decrypted to rotation, which shows a token again", async () => {
    const { id } = await createKey();
    const lost = environment(newEncryptionKey());
    const { code, stdout } = await runCommand(["keys", "rotate", id, "--json"], lost);
    const rotated = JSON.parse(stdout) as PrintedKey;
    expect(code).toBe(0);
    expect((await runCommand(["keys", "verify", rotated.token], lost)).code).toBe(0);
    expect((await json<PrintedKey>("delete", id)).token).toBeNull();
  });
});
