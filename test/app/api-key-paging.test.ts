import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { startTestApp, type TestApp } from "../harness/app.js";
import { createAccount, type TestAccount } from "./accounts.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());

const LIMIT = 10;

interface Page {
  readonly ids: string[];
  /** Empty on the last page. */
  readonly cursor: string;
  readonly totalCount: number;
}

type Walk = (account: TestAccount, cursor: string) => Promise<Page>;

const overRpc: Walk = async ({ backend }, cursor) => {
  const page = await app.client(ApiKeyService, backend).listApiKeys({ limit: LIMIT, cursor });
  return { ...page, ids: page.apiKeys.map(({ id }) => id) };
};

const overRest: Walk = async ({ backend }, cursor) => {
  const query = new URLSearchParams({ limit: String(LIMIT), ...(cursor && { cursor }) });
  const response = await app.fetch(`/v1/api_keys?${query}`, { headers: backend });
  const page = (await response.json()) as {
    cursor: string | null;
    total_count: number;
    items: { id: string }[];
  };
  return { ids: page.items.map(({ id }) => id), cursor: page.cursor ?? "", totalCount: page.total_count };
};

/** What happens to keys between two pages. A number picks one of those that exist or, to restore, existed. */
const happenings = fc.array(
  fc.oneof(
    fc.constant({ type: "create" as const }),
    fc.record({ type: fc.constant("delete" as const), pick: fc.nat() }),
    fc.record({ type: fc.constant("undelete" as const), pick: fc.nat() }),
  ),
  { maxLength: 15 },
);

test.each([
  ["ListApiKeys", overRpc],
  ["GET /v1/api_keys", overRest],
])("walking the pages of %s neither skips nor repeats a key that lived throughout", async (_, nextPage) => {
  const { apiKeys } = app.useCases;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 45 }),
      fc.array(happenings, { minLength: 6, maxLength: 6 }),
      async (count, between) => {
        const account = await createAccount(app);
        const create = async () => (await apiKeys.create(OPERATOR, {}, account.id)).key.id;
        const alive: string[] = [];
        const deleted: string[] = [];
        for (let made = 0; made < count; made++) alive.push(await create());
        const throughout = new Set(alive);

        const listed: string[] = [];
        const rounds = [...between];
        let cursor = "";
        do {
          const page = await nextPage(account, cursor);
          expect(page.totalCount).toBe(alive.length);
          expect(alive).toEqual(expect.arrayContaining(page.ids));
          listed.push(...page.ids);
          cursor = page.cursor;

          for (const happening of rounds.shift() ?? []) {
            if (happening.type === "create") {
              alive.push(await create());
              continue;
            }
            const [from, to] = happening.type === "delete" ? [alive, deleted] : [deleted, alive];
            const [id] = from.splice(happening.pick % (from.length || 1), 1);
            if (id === undefined) continue;
            throughout.delete(id);
            await apiKeys[happening.type](OPERATOR, id);
            to.push(id);
          }
        } while (cursor !== "");

        expect(listed).toHaveLength(new Set(listed).size);
        expect(listed).toEqual(expect.arrayContaining([...throughout]));
      },
    ),
    { numRuns: 15 },
  );
});
