import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { type Headers, NOW, operator, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";

/**
 * The rows of MapTiler's documentation (docs.maptiler.com/cloud/admin-api/api-keys), and `name`, which its keys have
 * too. Strict: a field that MapTiler doesn't have is a failure.
 */
const APIKey = z.strictObject({
  id: z.uuid(),
  token: z.string().min(1),
  name: z.string().min(1),
  description: z.string().min(1).nullable(),
  user_agent: z.string().min(1).nullable(),
  origins: z.array(z.string()),
  created: z.iso.datetime(),
  changed: z.iso.datetime(),
});
const APIKeyPage = z.strictObject({
  cursor: z.base64().min(1).nullable(),
  total_count: z.int(),
  items: z.array(APIKey),
});
const Problem = z.object({ status: z.int(), title: z.string(), detail: z.string().min(1) });

const settings = {
  name: "Shop",
  description: "The shop's map",
  user_agent: "ShopApp/",
  origins: ["shop.example.com", "*.shop.example.com", "?"],
};

const UNKNOWN_ID = "00000000-0000-4000-8000-000000000000";

let app: TestApp;
let account: TestAccount;
let stranger: TestAccount;

beforeAll(async () => {
  app = await startTestApp();
  stranger = await createAccount(app);
});
beforeEach(async () => {
  app.now = NOW;
  account = await createAccount(app);
});
afterAll(() => app[Symbol.asyncDispose]());

type Method = "GET" | "POST" | "DELETE" | "PUT";

async function call(method: Method, path: string, body?: unknown, headers: Headers = account.backend) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await app.fetch(path, { method, headers, ...(text ? { body: text } : {}) });
  return { status: response.status, headers: response.headers, json: (await response.json()) as unknown };
}

/** The body of a 200 answer. */
async function ok(...request: Parameters<typeof call>): Promise<unknown> {
  const { status, headers, json } = await call(...request);
  expect({ status, json }).toEqual({ status: 200, json });
  expect(headers.get("content-type")).toBe("application/json");
  return json;
}

const list = async (query = "") => APIKeyPage.parse(await ok("GET", `/v1/api_keys${query}`));
const create = async (body?: unknown) => APIKey.parse(await ok("POST", "/v1/api_keys", body));
const get = async (id: string) => APIKey.parse(await ok("GET", `/v1/api_keys/${id}`));
const change = async (id: string, body?: unknown) =>
  APIKey.parse(await ok("POST", `/v1/api_keys/${id}/change_settings`, body));

/** The problem's detail. */
async function refused(expected: number, ...request: Parameters<typeof call>): Promise<string> {
  const { status, headers, json } = await call(...request);
  expect({ status, json }).toEqual({ status: expected, json });
  expect(headers.get("content-type")).toBe("application/problem+json");
  const problem = Problem.parse(json);
  expect(problem.status).toBe(expected);
  return problem.detail;
}

async function createMany(count: number): Promise<void> {
  for (let made = 0; made < count; made++) await app.useCases.apiKeys.create(OPERATOR, {}, account.id);
}

describe("GET /v1/api_keys", () => {
  test("cursor: string <byte>, page cursor", async () => {
    await createMany(25);
    const first = await list("?limit=10");
    const second = await list(`?limit=10&cursor=${encodeURIComponent(first.cursor ?? "")}`);
    const third = await list(`?limit=10&cursor=${encodeURIComponent(second.cursor ?? "")}`);
    expect([first, second, third].map(({ items }) => items.length)).toEqual([10, 10, 5]);
    expect([first, second, third].flatMap(({ items }) => items)).toEqual((await list()).items);
  });

  test("cursor: string <byte>, put into the query without encoding", async () => {
    await createMany(11);
    const { cursor } = await list("?limit=10");
    expect((await list(`?limit=10&cursor=${cursor}`)).items).toHaveLength(1);
  });

  test.each(["x", "!!!!", "AAAA", "AAAAAAAAAAB=", "%00"])("cursor: %j is refused", async (cursor) => {
    expect(await refused(422, "GET", `/v1/api_keys?cursor=${cursor}`)).toContain("cursor");
  });

  test("cursor: one of another account is refused", async () => {
    await createMany(11);
    const { cursor } = await list("?limit=10");
    const path = `/v1/api_keys?cursor=${cursor}`;
    expect(await refused(422, "GET", path, undefined, stranger.backend)).toBe("cursor: is malformed");
  });

  test("limit: >= 10", async () => {
    await createMany(11);
    expect((await list("?limit=10")).items).toHaveLength(10);
    expect(await refused(422, "GET", "/v1/api_keys?limit=9")).toContain("limit");
  });

  test("limit: <= 100", async () => {
    await createMany(101);
    expect((await list("?limit=100")).items).toHaveLength(100);
    expect(await refused(422, "GET", "/v1/api_keys?limit=101")).toContain("limit");
  });

  test("limit: default 50", async () => {
    await createMany(51);
    expect((await list()).items).toHaveLength(50);
  });

  test.each(["10.5", "ten", "-10", "1e1", "", "%2010", "0x20", "0", "99999999999999999999"])(
    "limit: integer, so %j is refused",
    async (limit) => {
      expect(await refused(422, "GET", `/v1/api_keys?limit=${limit}`)).toContain("limit");
    },
  );

  test("200: APIKeyPage", async () => {
    expect(await list()).toEqual({ cursor: null, total_count: 0, items: [] });
  });
});

describe("POST /v1/api_keys", () => {
  test("body: APIKeySettings", async () => {
    expect(await create(settings)).toMatchObject(settings);
  });

  test.each([["no body", ""] as const, ["{}", "{}"] as const, ["null", "null"] as const])(
    "body: may be empty: %s",
    async (_, body) => {
      const key = await create(body);
      expect(key).toMatchObject({ description: null, user_agent: null, origins: [] });
      expect(key.name).not.toBe("");
    },
  );

  test("body: an answer can be edited and sent back", async () => {
    const key = await create(settings);
    const copy = await create({ ...key, description: "Another" });
    expect(copy).toMatchObject({ ...settings, description: "Another" });
    expect(copy.id).not.toBe(key.id);
    expect(copy.token).not.toBe(key.token);
  });

  test("200: APIKey", async () => {
    const key = await create(settings);
    expect(await get(key.id)).toEqual(key);
  });
});

describe("GET /v1/api_keys/{key_id}", () => {
  test("keyId: string <uuid>, identifier of API key", async () => {
    const key = await create();
    expect(await get(key.id)).toEqual(key);
    expect(await get(key.id.toUpperCase())).toEqual(key);
  });

  test("200: APIKey", async () => {
    const { id } = await create(settings);
    expect(await get(id)).toMatchObject({ id, ...settings });
  });
});

describe("DELETE /v1/api_keys/{key_id}", () => {
  test("keyId: string <uuid>, identifier of API key", async () => {
    const [kept, gone] = [await create(), await create()];
    await ok("DELETE", `/v1/api_keys/${gone.id.toUpperCase()}`);
    expect((await list()).items).toEqual([kept]);
  });

  test("200: successfully deleted", async () => {
    const { id } = await create();
    expect((await call("DELETE", `/v1/api_keys/${id}`)).status).toBe(200);
    await refused(404, "GET", `/v1/api_keys/${id}`);
    await refused(404, "DELETE", `/v1/api_keys/${id}`);
    await refused(404, "POST", `/v1/api_keys/${id}/change_settings`, {});
  });
});

describe("POST /v1/api_keys/{key_id}/change_settings", () => {
  test("keyId: string <uuid>, identifier of API key", async () => {
    const [changed, other] = [await create(), await create()];
    await change(changed.id.toUpperCase(), settings);
    expect(await get(changed.id)).toMatchObject(settings);
    expect(await get(other.id)).toEqual(other);
  });

  test("body: APIKeySettings, may be empty", async () => {
    const { id } = await create(settings);
    for (const body of ["", "{}", "null"]) expect(await change(id, body)).toMatchObject(settings);
  });

  test("200: APIKey", async () => {
    const key = await create();
    const changed = await change(key.id, settings);
    expect(changed).toEqual({ ...key, ...settings });
    expect(await get(key.id)).toEqual(changed);
  });
});

describe("APIKeyPage", () => {
  test.each([
    ["full", 20],
    ["not full", 15],
  ])("cursor: string <byte> or null, null on the last page when that is %s", async (_, count) => {
    await createMany(count);
    const first = await list("?limit=10");
    expect(first.cursor).toMatch(/^[A-Za-z0-9+/]+=*$/);
    expect((await list(`?limit=10&cursor=${encodeURIComponent(first.cursor ?? "")}`)).cursor).toBeNull();
  });

  test("total_count: integer, of all pages, without deleted keys and other accounts'", async () => {
    await createMany(11);
    const { id } = await create();
    await ok("DELETE", `/v1/api_keys/${id}`);
    const page = await list("?limit=10");
    expect(page).toMatchObject({ total_count: 11, items: { length: 10 } });
  });

  test("items: array[APIKey], newest first", async () => {
    const keys = [await create(), await create(settings), await create()];
    expect((await list()).items).toEqual(keys.reverse());
  });
});

describe("APIKey", () => {
  /** Each way to get one, of a key with every setting and of one with none. */
  const everyAnswer = async () => {
    const answers: z.infer<typeof APIKey>[] = [];
    for (const body of [settings, {}]) {
      const created = await create(body);
      answers.push(created, await get(created.id), await change(created.id, {}));
    }
    return [...answers, ...(await list()).items];
  };

  test.each([
    ["id: string <uuid>", "id", z.uuid().lowercase()],
    ["token: string", "token", z.string().regex(/^tgk_[0-9A-Za-z]{33}$/)],
    ["name: string", "name", z.string().min(1)],
    ["description: string or null", "description", z.union([z.literal(settings.description), z.null()])],
    ["user_agent: string or null", "user_agent", z.union([z.literal(settings.user_agent), z.null()])],
    ["origins: array [string]", "origins", z.array(z.string())],
    ["created: string <date-time>", "created", z.iso.datetime()],
    ["changed: string <date-time>", "changed", z.iso.datetime()],
  ] as const)("%s", async (_, property, type) => {
    const values = (await everyAnswer()).map((key) => key[property]);
    expect(values).toHaveLength(8);
    for (const value of values) expect(type.safeParse(value).error).toBeUndefined();
  });

  test("has these properties and no others", async () => {
    const names = Object.keys(APIKey.shape);
    for (const key of await everyAnswer()) expect(Object.keys(key)).toEqual(names);
  });

  test("token: string, the same on every read and another key's never", async () => {
    const [key, other] = [await create(), await create()];
    expect((await get(key.id)).token).toBe(key.token);
    expect(other.token).not.toBe(key.token);
  });

  test("created, changed: a change moves changed alone", async () => {
    const key = await create();
    expect([key.created, key.changed]).toEqual([NOW.toISOString(), NOW.toISOString()]);
    app.now = new Date(NOW.getTime() + 1500);
    expect(await change(key.id, { description: "later" })).toMatchObject({
      created: NOW.toISOString(),
      changed: app.now.toISOString(),
    });
  });
});

describe("APIKeySettings", () => {
  const cleared = { description: null, user_agent: null, origins: [] };
  const others = {
    name: "Other",
    description: "Other",
    user_agent: "Other/",
    origins: ["other.example.com"],
  };

  describe.each([
    ["name: string", "name"],
    ["description: string or null", "description"],
    ["user_agent: string or null", "user_agent"],
    ["origins: array [string]", "origins"],
  ] as const)("%s", (_, property) => {
    test("sets it on creation", async () => {
      expect(await create({ [property]: settings[property] })).toHaveProperty(property, settings[property]);
    });

    test("null on creation is its default", async () => {
      const key = await create({ [property]: null });
      expect(key).toMatchObject(cleared);
      expect(key.name).not.toBe("");
    });

    test("present: it changes, and the absent ones stay", async () => {
      const { id } = await create(settings);
      expect(await change(id, { [property]: others[property] })).toMatchObject({
        ...settings,
        [property]: others[property],
      });
    });

    test("null clears it, and the absent ones stay", async () => {
      const { id } = await create(settings);
      const changed = await change(id, { [property]: null });
      // A key always has a name: a generated one then.
      const expected = property === "name" ? expect.stringMatching(/^Key 2027-01-15 /) : cleared[property];
      expect(changed).toMatchObject({ ...settings, [property]: expected });
    });

    test.each([[42], [true], [{}], [[42]], [[null]]])("%j has the wrong type", async (value) => {
      const body = { [property]: value };
      const { id } = await create(settings);
      expect(await refused(422, "POST", "/v1/api_keys", body)).toContain(property);
      expect(await refused(422, "POST", `/v1/api_keys/${id}/change_settings`, body)).toContain(property);
      expect(await get(id)).toMatchObject(settings);
    });
  });

  test.each([
    ["name: at most 100 characters", "name", "🗺".repeat(100)],
    ["description: at most 1,000 characters", "description", "🗺".repeat(1000)],
    ["user_agent: at most 256 characters", "user_agent", "x".repeat(256)],
  ])("%s", async (_, property, longest) => {
    expect(await create({ [property]: longest })).toHaveProperty(property, longest);
    const { id } = await create();
    const body = { [property]: `${longest}x` };
    expect(await refused(422, "POST", "/v1/api_keys", body)).toContain(property);
    expect(await refused(422, "POST", `/v1/api_keys/${id}/change_settings`, body)).toContain(property);
  });

  test("origins: at most 50", async () => {
    const origins = Array.from({ length: 50 }, (_, index) => `host-${index}.example.com`);
    expect(await create({ origins })).toHaveProperty("origins", origins);
    const detail = await refused(422, "POST", "/v1/api_keys", { origins: [...origins, "a.example.com"] });
    expect(detail).toContain("origins");
  });

  test("origins: of 1 to 255 characters", async () => {
    const longest = `${"a.".repeat(122)}example.com`;
    expect(longest).toHaveLength(255);
    expect(await create({ origins: [longest] })).toHaveProperty("origins", [longest]);
    for (const origin of ["", `a${longest}`]) {
      expect(await refused(422, "POST", "/v1/api_keys", { origins: [origin] })).toContain("origins[0]");
    }
  });

  test.each(["https://example.com", "*", "*.com", "a.*.com", "example.com/path", "exa mple.com", "x:99999"])(
    "origins: %j is no pattern",
    async (pattern) => {
      const detail = await refused(422, "POST", "/v1/api_keys", { origins: ["example.com", pattern] });
      expect(detail).toContain("origins[1]");
    },
  );

  test.each<[unknown, string[]]>([
    [{ origins: ["example.com", "a.*.com"] }, ["origins[1]"]],
    [{ origins: ["", "example.com", ""], name: "x".repeat(101) }, ["name", "origins[0]", "origins[2]"]],
    [{ origins: ["example.com", 7], name: 7 }, ["name", "origins[1]"]],
  ])(
    "the fields at fault in %j are all named as the body has them, with no path before",
    async (body, fields) => {
      const { json } = await call("POST", "/v1/api_keys", body);
      expect(json).toMatchObject({ reason: "INVALID_FIELD", field: fields[0] });
      expect((json as { errors: { field: string }[] }).errors.map(({ field }) => field)).toEqual(fields);
    },
  );

  test("a misspelt restriction is refused, not ignored", async () => {
    expect(await refused(422, "POST", "/v1/api_keys", { origin: ["example.com"] })).toContain("origin");
    expect((await list()).items).toEqual([]);
  });

  test.each(["[]", '"x"', "42", "true"])("%s is not an object", async (body) => {
    await refused(422, "POST", "/v1/api_keys", body);
  });

  test.each(["name", "description", "user_agent"])("%s: a NUL, which no database keeps", async (property) => {
    expect(await refused(422, "POST", "/v1/api_keys", { [property]: "a\0b" })).toContain(property);
  });
});

describe("you must include a service token with every API request", () => {
  const requests = [
    ["GET", "/v1/api_keys"],
    ["POST", "/v1/api_keys"],
    ["GET", "/v1/api_keys/{key_id}"],
    ["DELETE", "/v1/api_keys/{key_id}"],
    ["POST", "/v1/api_keys/{key_id}/change_settings"],
  ] as const;

  test("Authorization: Token and Bearer both carry it", async () => {
    const bearer = { authorization: account.backend.authorization?.replace("Token", "Bearer") ?? "" };
    for (const headers of [account.backend, bearer]) await ok("GET", "/v1/api_keys", undefined, headers);
  });

  test("an administrator may do without", async () => {
    const admin = await app.user({ sub: "ada", account: account.id, roles: ["admin"] });
    const key = APIKey.parse(await ok("POST", "/v1/api_keys", undefined, admin));
    expect((await list()).items).toEqual([key]);
  });

  test("the operator, who has no account, may change every key but must name an account elsewhere", async () => {
    const { id } = await create();
    await ok("POST", `/v1/api_keys/${id}/change_settings`, settings, operator);
    expect(await get(id)).toMatchObject(settings);
    expect(await refused(422, "GET", "/v1/api_keys", undefined, operator)).toContain("account_id");
  });

  describe.each(requests)("%s %s", (method, path) => {
    const pathOf = (id: string) => path.replace("{key_id}", id);

    test("401 without a credential, or with one that doesn't resolve", async () => {
      const { id } = await create();
      for (const authorization of [
        "",
        "Token",
        "Token nonsense",
        "Basic YTpi",
        `Token tgs_${"0".repeat(33)}`,
      ]) {
        const headers: Headers = authorization === "" ? {} : { authorization };
        await refused(401, method, pathOf(id), undefined, headers);
      }
      expect((await list()).items).toHaveLength(1);
    });

    test("403 for users and for API keys", async () => {
      const { id, token } = await create();
      await refused(403, method, pathOf(id), undefined, await app.user({ sub: "ada", account: account.id }));
      await refused(403, method, pathOf(id), undefined, { "x-api-key": token });
      await refused(403, method, `${pathOf(id)}?key=${token}`, undefined, {});
      expect((await list()).items).toHaveLength(1);
    });
  });
});

describe("errors", () => {
  test.each([
    ["GET", ""],
    ["DELETE", ""],
    ["POST", "/change_settings"],
  ] as const)(
    "404: %s /v1/api_keys/{key_id}%s of an unknown, malformed or foreign id",
    async (method, rest) => {
      const { id } = await create(settings);
      const unknown = await refused(404, method, `/v1/api_keys/${UNKNOWN_ID}${rest}`);
      const malformed = await refused(404, method, `/v1/api_keys/nonsense${rest}`);
      const foreign = await refused(404, method, `/v1/api_keys/${id}${rest}`, undefined, stranger.backend);
      // A stranger can't tell which ids exist.
      expect([malformed, foreign]).toEqual([unknown, unknown]);
      expect(await get(id)).toMatchObject(settings);
    },
  );

  test.each([
    ["PUT", "/v1/api_keys", "GET, POST"],
    ["DELETE", "/v1/api_keys", "GET, POST"],
    ["POST", `/v1/api_keys/${UNKNOWN_ID}`, "GET, DELETE"],
    ["GET", `/v1/api_keys/${UNKNOWN_ID}/change_settings`, "POST"],
  ] as const)("405: %s %s", async (method, path, allow) => {
    await refused(405, method, path);
    expect((await call(method, path)).headers.get("allow")).toBe(allow);
  });

  test("413: a body over 64 KiB", async () => {
    await refused(413, "POST", "/v1/api_keys", { description: "x".repeat(64 * 1024) });
  });

  test("400: a body that isn't JSON", async () => {
    for (const body of ["{", "{'name':1}", "name=x"]) await refused(400, "POST", "/v1/api_keys", body);
  });
});
