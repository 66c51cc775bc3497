import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createSigningKeyReload } from "../../src/cli/signing-key-reload.js";
import { readConfig } from "../../src/config/config.js";
import { ensureSecrets } from "../../src/config/secrets.js";
import { findSigningKeyFiles } from "../../src/config/signing-key-files.js";
import { createSigningKeyRing, type SigningKeys } from "../../src/domain/tile-tokens/key-ring.js";
import { type TemporaryDirectory, temporaryDirectory } from "../harness/data-directory.js";
import { createSecretVolume } from "../harness/secret-volume.js";

const OLD = "the-old-secret-of-a-test";
const NEW = "the-new-secret-of-a-test";
const seedOf = (name: string) => Buffer.alloc(32, name).toString("base64");

let directory: TemporaryDirectory;
let file: string;
beforeEach(async () => {
  directory = await temporaryDirectory();
  file = join(directory.path, "keys");
  writeFileSync(file, `${OLD}\n`);
});
afterEach(() => directory[Symbol.asyncDispose]());

interface LogLine {
  readonly level: number;
  readonly msg: string;
}

/** What the service does with its signing keys, but for the timer. */
async function follow(env: NodeJS.ProcessEnv) {
  const config = readConfig({ DATA_DIR: join(directory.path, "data"), ...env });
  const secrets = await ensureSecrets(config.secrets);
  const ring = createSigningKeyRing(config.tokens.signingAlgorithm, {
    hmac: secrets.signingKeys,
    ed25519: secrets.ed25519Keys ?? [],
  });
  const read = await findSigningKeyFiles(env, config.secrets, secrets);
  if (read === undefined) throw new Error("there is no file to follow");
  const text: string[] = [];
  const log = pino({ base: undefined }, { write: (line) => text.push(line) });
  const { look, ask } = createSigningKeyReload({ read, ring, log });
  return {
    ring,
    secrets,
    ask,
    text,
    /** So many looks. */
    async look(count = 1) {
      for (let done = 0; done < count; done += 1) await look();
    },
    lines: () => text.map((line): LogLine => JSON.parse(line)),
    /** Whether the ring's signatures are those of these keys. */
    has(keys: Partial<SigningKeys>) {
      const expected = createSigningKeyRing(config.tokens.signingAlgorithm, {
        hmac: [],
        ed25519: [],
        ...keys,
      });
      return ring.sign("roads", 1) === expected.sign("roads", 1);
    },
    verifies: (secret: string) =>
      ring.verifies(
        "roads",
        1,
        createSigningKeyRing("hmac", { hmac: [secret], ed25519: [] }).sign("roads", 1),
      ),
  };
}

describe("signing keys", () => {
  test("are those of the file once it has been seen twice, with a line in the log that tells no secret", async () => {
    const { look, has, lines, text } = await follow({ TILE_SIGNING_KEYS_FILE: file });
    await look(3);
    expect(lines()).toEqual([]);
    writeFileSync(file, `${NEW},${OLD}\n`);
    await look();
    expect(has({ hmac: [OLD] })).toBe(true);
    await look();
    expect(has({ hmac: [NEW] })).toBe(true);
    await look(3);
    expect(lines()).toMatchObject([
      { level: 30, msg: "signing keys reloaded", hmacKeys: 2, ed25519Keys: [] },
    ]);
    for (const secret of [OLD, NEW]) expect(text.join()).not.toContain(secret);
  });

  test("of a file that is just being written are not taken: half a key would refuse the whole one's tokens", async () => {
    const { look, verifies } = await follow({ TILE_SIGNING_KEYS_FILE: file });
    const whole = `${NEW},${OLD}`;
    await look(2);
    for (let written = 0; written <= whole.length; written += 1) {
      writeFileSync(file, whole.slice(0, written));
      await look();
      expect(verifies(OLD)).toBe(true);
    }
    await look();
    expect([verifies(NEW), verifies(OLD)]).toEqual([true, true]);
  });

  test("are followed through Kubernetes' swap of a symlink, for which the file itself never changes", async () => {
    await using volume = await createSecretVolume({ keys: OLD });
    const { look, has } = await follow({ TILE_SIGNING_KEYS_FILE: volume.pathOf("keys") });
    await look(2);
    await volume.put({ keys: `${NEW},${OLD}` });
    await look(2);
    expect(has({ hmac: [NEW] })).toBe(true);
  });

  test("that were generated are followed in the data directory", async () => {
    const { look, has, secrets } = await follow({});
    writeFileSync(join(directory.path, "data", "tile-signing-keys"), `${NEW},${secrets.signingKeys[0]}\n`);
    await look(2);
    expect(has({ hmac: [NEW] })).toBe(true);
  });

  test("of both algorithms are followed, each in its file, and those of the environment stay", async () => {
    const seeds = join(directory.path, "seeds");
    writeFileSync(seeds, seedOf("old"));
    const env = { TILE_SIGNING_ALGORITHM: "ed25519", TILE_ED25519_KEYS_FILE: seeds };
    const { look, has, verifies, ring, lines } = await follow({ ...env, TILE_SIGNING_KEYS: OLD });
    writeFileSync(seeds, `${seedOf("new")}, ${seedOf("old")}`);
    await look(2);
    expect(has({ ed25519: [Buffer.from(seedOf("new"), "base64")] })).toBe(true);
    expect(verifies(OLD)).toBe(true);
    expect(lines()).toMatchObject([{ hmacKeys: 1, ed25519Keys: ring.publicKeys().map(({ kid }) => kid) }]);
  });

  test("of the environment alone are not followed, nor what can be read once only", async () => {
    const env = { TILE_SIGNING_KEYS: OLD, TILE_ED25519_KEYS: seedOf("old") };
    const { secrets } = readConfig(env);
    const loaded = await ensureSecrets(secrets);
    expect(await findSigningKeyFiles(env, secrets, loaded)).toBeUndefined();
    for (const path of ["/dev/null", directory.path]) {
      expect(await findSigningKeyFiles({ TILE_SIGNING_KEYS_FILE: path }, secrets, loaded)).toBeUndefined();
    }
  });
});

describe("keys that can't be used", () => {
  const pipe = () => {
    unlinkSync(file);
    execFileSync("mkfifo", [file]);
  };
  const folder = () => {
    unlinkSync(file);
    mkdirSync(file);
  };

  test.each([
    [
      "too short",
      () => writeFileSync(file, `${NEW},hunter2`),
      "TILE_SIGNING_KEYS_FILE, item 2: must have at least 16 bytes",
    ],
    [
      "twice the same",
      () => writeFileSync(file, `${NEW},${NEW}`),
      "TILE_SIGNING_KEYS_FILE: must not list a key twice",
    ],
    [
      "with a blank",
      () => writeFileSync(file, `${NEW} ,${OLD}`),
      "TILE_SIGNING_KEYS_FILE, item 1: must not begin or end with a blank",
    ],
    ["none", () => writeFileSync(file, "\n"), "TILE_SIGNING_KEYS_FILE: the file is empty"],
    [
      "too many",
      () => writeFileSync(file, `${NEW},`.repeat(5_000)),
      "TILE_SIGNING_KEYS_FILE: is larger than 65536 bytes",
    ],
    [
      "of a file that is gone",
      () => unlinkSync(file),
      "TILE_SIGNING_KEYS_FILE: can't read the file (ENOENT)",
    ],
    ["of a directory", folder, "TILE_SIGNING_KEYS_FILE: is not a regular file"],
    ["of a pipe, which nobody may ever write to", pipe, "TILE_SIGNING_KEYS_FILE: is not a regular file"],
  ])(
    "(%s) leave the ring as it is, with one line, until there are better ones",
    async (_name, spoil, problem) => {
      const { look, verifies, lines, text } = await follow({ TILE_SIGNING_KEYS_FILE: file });
      await look(2);
      spoil();
      await look(5);
      expect(lines()).toMatchObject([
        { level: 50, msg: "signing keys can't be read again, the ones before stay", problems: [problem] },
      ]);
      for (const value of [OLD, NEW, "hunter2", directory.path]) expect(text.join()).not.toContain(value);
      expect([verifies(OLD), verifies(NEW)]).toEqual([true, false]);

      rmSync(file, { recursive: true, force: true });
      writeFileSync(file, NEW);
      await look(5);
      expect(lines().slice(1)).toMatchObject([{ level: 30, msg: "signing keys reloaded" }]);
      expect([verifies(OLD), verifies(NEW)]).toEqual([false, true]);
    },
  );

  test("are told of as over when the ones before are back", async () => {
    const { look, lines } = await follow({ TILE_SIGNING_KEYS_FILE: file });
    unlinkSync(file);
    await look(2);
    writeFileSync(file, OLD);
    await look(4);
    expect(lines().slice(1)).toMatchObject([{ level: 30, msg: "signing keys read again, unchanged" }]);
  });

  test("in one file keep back the other's new ones, since both may belong together", async () => {
    const seeds = join(directory.path, "seeds");
    writeFileSync(seeds, seedOf("old"));
    const { look, verifies } = await follow({ TILE_SIGNING_KEYS_FILE: file, TILE_ED25519_KEYS_FILE: seeds });
    writeFileSync(file, NEW);
    writeFileSync(seeds, "hunter2");
    await look(3);
    expect([verifies(OLD), verifies(NEW)]).toEqual([true, false]);
  });
});

test("who asks gets an answer in the log each time, whatever there is to tell", async () => {
  const { look, ask, lines } = await follow({ TILE_SIGNING_KEYS_FILE: file });
  const answerTo = async (change: () => void) => {
    change();
    ask();
    await look(5);
    return lines().at(-1)?.msg;
  };
  const same = () => {};
  const reloaded = "signing keys reloaded";
  const unchanged = "signing keys read again, unchanged";
  const broken = "signing keys can't be read again, the ones before stay";
  expect(await answerTo(same)).toBe(unchanged);
  expect(await answerTo(() => writeFileSync(file, NEW))).toBe(reloaded);
  expect(await answerTo(same)).toBe(unchanged);
  expect(await answerTo(() => writeFileSync(file, "hunter2"))).toBe(broken);
  expect(await answerTo(same)).toBe(broken);
  expect(await answerTo(() => writeFileSync(file, NEW))).toBe(unchanged);
  expect(lines()).toHaveLength(6);
});

test("however files come and go, the ring is one that a file held whole, and the last of them in the end", async () => {
  const keys = fc.constantFrom(OLD, NEW, `${NEW},${OLD}`, `${OLD},${NEW}`);
  const event = fc.oneof(keys, fc.constantFrom("hunter2", "", "gone", "look", "look", "ask"));
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 20 }), keys, async (events, last) => {
      writeFileSync(file, OLD);
      const { look, ask, verifies, has, lines } = await follow({ TILE_SIGNING_KEYS_FILE: file });
      const held = new Set([OLD]);
      for (const each of events) {
        if (each === "look") await look();
        else if (each === "ask") ask();
        else if (each === "gone") rmSync(file, { force: true });
        else {
          writeFileSync(file, each);
          if (each.length >= OLD.length) held.add(each);
        }
        const known = [OLD, NEW].filter(verifies);
        expect([...held].some((text) => text.split(",").toSorted().join() === known.toSorted().join())).toBe(
          true,
        );
      }
      writeFileSync(file, last);
      await look(2);
      expect(has({ hmac: last.split(",") })).toBe(true);
      expect([OLD, NEW].filter(verifies).toSorted()).toEqual(last.split(",").toSorted());
      expect(lines().length).toBeLessThanOrEqual(events.length + 1);
    }),
    { numRuns: 60 },
  );
});
