import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ApiKeyChange } from "../../src/domain/api-keys/settings.js";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { generateSecret } from "../../src/domain/identity/secret.js";
import { aVectorDataset, NOW, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";
import { DOORS, type DoorAnswer, http1, type SentHeaders } from "./key-doors.js";

/** Whose peers are all on loopback. */
interface Site {
  readonly app: TestApp;
  readonly account: TestAccount;
  readonly datasetId: string;
}

async function startSite(env: Record<string, string> = {}): Promise<Site> {
  const app = await startTestApp(env);
  const account = await createAccount(app);
  const input = {
    ...aVectorDataset,
    accountId: account.id,
    tableName: "closed",
    visibility: "private",
  } as const;
  return { app, account, datasetId: (await app.useCases.datasets.create(OPERATOR, input)).id };
}

/** Loopback is trusted, as by default: the tests are its proxy. */
let behindProxy: Site;
/** Nobody on loopback is. */
let direct: Site;

beforeAll(async () => {
  behindProxy = await startSite();
  direct = await startSite({ TRUSTED_PROXIES: "10.0.0.0/8" });
});
beforeEach(() => {
  behindProxy.app.now = NOW;
});
afterAll(async () => {
  await behindProxy.app[Symbol.asyncDispose]();
  await direct.app[Symbol.asyncDispose]();
});

async function createKey({ app, account, datasetId }: Site, settings: ApiKeyChange) {
  const listing = { datasetIds: [datasetId], ...settings };
  const { key, token } = await app.useCases.apiKeys.create(OPERATOR, listing, account.id);
  return { id: key.id, token };
}

async function ask({ app, datasetId }: Site, token: string, headers: SentHeaders = {}) {
  const answers: Record<string, DoorAnswer> = {};
  for (const [name, door] of Object.entries(DOORS))
    answers[name] = await door(app, datasetId, token, headers);
  return answers;
}

/** The outcome, if it is the same at every door, else each door's. */
async function outcome(...request: Parameters<typeof ask>) {
  const outcomes = Object.entries(await ask(...request)).map(([name, each]) => [name, each.outcome]);
  const [first, ...others] = new Set(outcomes.map(([, each]) => each));
  return others.length === 0 ? first : Object.fromEntries(outcomes);
}

const from = (...forwarded: string[]) => ({ "x-forwarded-for": forwarded });

const OFFICE: ApiKeyChange = { allowedIps: ["203.0.113.0/24", "2001:db8:7::/48"] };

describe("behind a proxy that is trusted, a key locked to ranges", () => {
  test.each<[string, string, SentHeaders]>([
    ["opens to an address within one", "granted", from("203.0.113.9")],
    ["opens to it in the form of IPv6", "granted", from("::ffff:203.0.113.9")],
    ["opens to an IPv6 address within one", "granted", from("2001:DB8:7:0::1")],
    ["opens to it with a port", "granted", from("[2001:db8:7::1]:4711")],
    ["opens to it behind another trusted proxy", "granted", from("203.0.113.9, 127.0.0.9")],
    ["refuses another address", "unauthenticated", from("198.51.100.1")],
    ["refuses an IPv6 address that ends like an IPv4 one within", "unauthenticated", from("::203.0.113.9")],
    ["refuses the proxy itself, if it tells of no client", "unauthenticated", {}],
  ])("%s", async (_, expected, headers) => {
    const { token } = await createKey(behindProxy, OFFICE);
    expect(await outcome(behindProxy, token, headers)).toBe(expected);
  });

  test.each<[string, SentHeaders]>([
    ["an address that the client claims to the left of its own", from("203.0.113.9, 198.51.100.1")],
    ["the same in a header of its own", from("203.0.113.9", "198.51.100.1")],
    [
      "a proxy's address that the client claims to the left of its own",
      from("203.0.113.9, 127.0.0.1, 198.51.100.1"),
    ],
    ["an allowed address after what is none", from("203.0.113.9, unknown")],
    ["an empty hop", from("203.0.113.9,")],
    ["what only looks like an allowed address", from("203.0.113.009")],
    ["a list in place of an address", from("203.0.113.9 203.0.113.9")],
    ["X-Real-IP, which is not asked", { "x-real-ip": "203.0.113.9" }],
    ["Forwarded, which is not asked", { forwarded: "for=203.0.113.9" }],
    ["an underscore in the header's name", { x_forwarded_for: "203.0.113.9" }],
  ])("is not opened by %s", async (_, headers) => {
    const { token } = await createKey(behindProxy, OFFICE);
    expect(await outcome(behindProxy, token, headers)).toBe("unauthenticated");
  });

  test("opens to one address and refuses another within the same second", async () => {
    const { token } = await createKey(behindProxy, OFFICE);
    for (const [expected, address] of [
      ["granted", "203.0.113.9"],
      ["unauthenticated", "198.51.100.1"],
      ["unauthenticated", "nobody"],
      ["granted", "203.0.113.9"],
      ["granted", "203.0.113.10"],
      ["unauthenticated", "203.0.114.9"],
    ] as const) {
      expect([address, await outcome(behindProxy, token, from(address))]).toEqual([address, expected]);
    }
  });

  test("is opened and locked again by a change, at once", async () => {
    const { id, token } = await createKey(behindProxy, OFFICE);
    const home = from("198.51.100.1");
    for (const [allowedIps, expected] of [
      [["198.51.100.1"], "granted"],
      [["198.51.100.2"], "unauthenticated"],
      [null, "granted"],
    ] as const) {
      await behindProxy.app.useCases.apiKeys.update(OPERATOR, id, { allowedIps });
      expect(await outcome(behindProxy, token, home)).toBe(expected);
    }
  });
});

describe("from a peer that is no trusted proxy, X-Forwarded-For is only a client's word", () => {
  test("it opens no key that is locked to another address", async () => {
    const { token } = await createKey(direct, OFFICE);
    for (const headers of [{}, from("203.0.113.9"), from("203.0.113.9, 10.0.0.1"), from("10.0.0.1")])
      expect(await outcome(direct, token, headers)).toBe("unauthenticated");
  });

  test("it locks nobody out whose own address is allowed", async () => {
    const { token } = await createKey(direct, { allowedIps: ["127.0.0.1"] });
    for (const headers of [{}, from("198.51.100.1"), from("nobody")])
      expect(await outcome(direct, token, headers)).toBe("granted");
  });
});

test("a key without ranges works for whoever calls, known or not", async () => {
  const { token } = await createKey(behindProxy, {});
  for (const headers of [{}, from("198.51.100.1"), from("nobody")])
    expect(await outcome(behindProxy, token, headers)).toBe("granted");
});

test("the public can't tell a refusal by address from a key that doesn't exist", async () => {
  const { token } = await createKey(behindProxy, OFFICE);
  const sent = { ...from("198.51.100.1"), "x-request-id": "same" };
  expect(await ask(behindProxy, token, sent)).toEqual(await ask(behindProxy, generateSecret("tgk_"), sent));
});

describe("MapTiler's API knows nothing of addresses", () => {
  const manage = (path: string, body: unknown) =>
    http1(behindProxy.app, path, { headers: behindProxy.account.backend, body });

  test("it shows none, and a change of settings leaves them alone", async () => {
    const { id, token } = await createKey(behindProxy, OFFICE);
    const changed = await manage(`/v1/api_keys/${id}/change_settings`, { name: "New", origins: null });
    expect(changed.status).toBe(200);
    expect(changed.body).not.toMatch(/allowed|203\.0\.113/);
    expect(await outcome(behindProxy, token, from("198.51.100.1"))).toBe("unauthenticated");
    const { key } = await behindProxy.app.useCases.apiKeys.get(OPERATOR, id);
    expect(key).toMatchObject({ name: "New", ...OFFICE });
  });

  test("it refuses to set them, where a dropped one would leave the key open", async () => {
    const { id } = await createKey(behindProxy, {});
    const settings = { allowed_ips: ["192.0.2.7"] };
    for (const path of ["/v1/api_keys", `/v1/api_keys/${id}/change_settings`])
      expect((await manage(path, settings)).status).toBe(422);
  });
});
