import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { z } from "zod";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { type Headers, NOW, startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";

/**
 * The rows of MapTiler's documentation (docs.maptiler.com/cloud/admin-api/api-keys), and `name`, which its keys have
 * too. Strict: a field that MapTiler doesn't have is a failure.
 */
export const APIKey = z.strictObject({
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

export const settings = {
  name: "Shop",
  description: "The shop's map",
  user_agent: "ShopApp/",
  origins: ["shop.example.com", "*.shop.example.com", "?"],
};

export const UNKNOWN_ID = "00000000-0000-4000-8000-000000000000";

/** A client of MapTiler's API for all tests of a file, each with an account of its own. */
export function useMapTiler() {
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

  return {
    get app() {
      return app;
    },
    get account() {
      return account;
    },
    get stranger() {
      return stranger;
    },
    ...{ call, ok, refused, list, create, get, change, createMany },
  };
}
