import { describe, expect, test } from "vitest";
import { type Headers, operator } from "../harness/app.js";
import { APIKey, settings, UNKNOWN_ID, useMapTiler } from "./maptiler.js";

const mapTiler = useMapTiler();
const { call, create, get, list, ok, refused } = mapTiler;

describe("you must include a service token with every API request", () => {
  const requests = [
    ["GET", "/v1/api_keys"],
    ["POST", "/v1/api_keys"],
    ["GET", "/v1/api_keys/{key_id}"],
    ["DELETE", "/v1/api_keys/{key_id}"],
    ["POST", "/v1/api_keys/{key_id}/change_settings"],
  ] as const;

  test("Authorization: Token and Bearer both carry it", async () => {
    const bearer = {
      authorization: mapTiler.account.backend.authorization?.replace("Token", "Bearer") ?? "",
    };
    for (const headers of [mapTiler.account.backend, bearer])
      await ok("GET", "/v1/api_keys", undefined, headers);
  });

  test("an administrator may do without", async () => {
    const admin = await mapTiler.app.user({ sub: "ada", account: mapTiler.account.id, roles: ["admin"] });
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
      await refused(
        403,
        method,
        pathOf(id),
        undefined,
        await mapTiler.app.user({ sub: "ada", account: mapTiler.account.id }),
      );
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
      const foreign = await refused(
        404,
        method,
        `/v1/api_keys/${id}${rest}`,
        undefined,
        mapTiler.stranger.backend,
      );
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
