import { describe, expect, test } from "vitest";
import { settings, useMapTiler } from "./maptiler.js";

const mapTiler = useMapTiler();
const { change, call, create, createMany, get, list, ok, refused } = mapTiler;

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
    expect(await refused(422, "GET", path, undefined, mapTiler.stranger.backend)).toBe(
      "cursor: is malformed",
    );
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
