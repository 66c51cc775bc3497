import { randomBytes } from "node:crypto";
import pino from "pino";
import { expect, test } from "vitest";
import { greeting } from "../../src/cli/greeting.js";
import { openBackend } from "../../src/compose/backend.js";
import { readConfig } from "../../src/config/config.js";
import { seedDemo } from "../../src/demo/seed.js";
import { temporaryDirectory } from "../harness/data-directory.js";
import { createInstallation } from "../harness/installation.js";

test("a start greets on when the demo's key can't be decrypted, without that key", async () => {
  await using installation = await createInstallation();
  await using directory = await temporaryDirectory();
  async function greetedWith(encryptionKey: string): Promise<string> {
    const config = readConfig({ ...installation.env, ENCRYPTION_KEYS: encryptionKey });
    const log = pino({ level: "silent" });
    await using backend = await openBackend({ config, log, clock: () => new Date() });
    const demo = await seedDemo(backend.useCases, directory.path);
    const { secrets } = backend;
    return greeting({ url: "http://x", config, secrets, dataDir: directory.path, demo });
  }
  const newKey = () => randomBytes(32).toString("base64");
  const first = await greetedWith(newKey());
  const [keyLine = ""] = /^ +Demo API key +tgk_.*\n/m.exec(first) ?? [];
  expect(keyLine).not.toBe("");
  expect(await greetedWith(newKey())).toBe(first.replace(keyLine, ""));
});
