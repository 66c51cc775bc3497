import { describe, expect, test } from "vitest";
import { z } from "zod";
import { NOW } from "../harness/app.js";
import { APIKey, settings, useMapTiler } from "./maptiler.js";

const mapTiler = useMapTiler();
const { call, change, create, get, list, refused } = mapTiler;

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
    mapTiler.app.now = new Date(NOW.getTime() + 1500);
    expect(await change(key.id, { description: "later" })).toMatchObject({
      created: NOW.toISOString(),
      changed: mapTiler.app.now.toISOString(),
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
