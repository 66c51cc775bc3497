import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresUrl } from "../harness/postgres.js";
import {
  insertAccount,
  newAccount,
  newDataset,
  openEmbeddedFixture,
  openPostgresFixture,
  type StoreFixture,
  saveDatasets,
} from "./store-fixture.js";

const fixtures: [string, boolean, () => Promise<StoreFixture>][] = [
  ["the embedded database", true, openEmbeddedFixture],
  ["PostgreSQL", postgresUrl() !== undefined, openPostgresFixture],
];

describe.each(fixtures.filter(([, isThere]) => isThere))("transactions of %s", (_, __, open) => {
  let fixture: StoreFixture;
  let accountId: string;

  beforeAll(async () => {
    fixture = await open();
    const account = newAccount();
    accountId = account.id;
    await insertAccount(fixture, account);
    // Of a dataset whose title is a SQLSTATE every statement succeeds, and COMMIT fails with that.
    await fixture.database.prisma.$executeRaw`
      CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF NEW.title ~ '^[0-9A-Z]{5}$' THEN
          RAISE EXCEPTION 'duplicate key value violates unique constraint "datasets_scope_key"' USING ERRCODE = NEW.title;
        END IF;
        RETURN NULL;
      END $$`;
    await fixture.database.prisma.$executeRaw`
      CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON datasets
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`;
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  async function save(title: string): Promise<string> {
    const dataset = newDataset(accountId, { title });
    await saveDatasets(fixture, dataset);
    return dataset.id;
  }

  const count = async (): Promise<number> => fixture.database.prisma.dataset.count();

  test.each([
    ["data are corrupted", "XX001", { name: "DriverAdapterError" }],
    ["the disk is full", "53100", { kind: "unavailable" }],
    ["the disk fails", "58030", { kind: "unavailable" }],
    ["a constraint is violated that waited for it", "23505", { cause: { field: "scope" } }],
    ["two transactions conflict", "40001", { cause: { name: "ConcurrentChangeError" } }],
  ])("a COMMIT that fails since %s is an error, never an acknowledgement", async (_, sqlstate, expected) => {
    const before = await count();
    await expect(save(sqlstate)).rejects.toMatchObject(expected);
    expect(await count()).toBe(before);
    const id = await save("the next one");
    expect((await fixture.datasets.readMany([id])).get(id)?.title).toBe("the next one");
  });

  test("one that fails before its COMMIT leaves nothing, and says why it failed", async () => {
    const before = await count();
    const work = fixture.unitOfWork.write(async ({ datasets }) => {
      await datasets.save([newDataset(accountId)]);
      throw new Error("on second thoughts");
    });
    await expect(work).rejects.toThrow("on second thoughts");
    expect(await count()).toBe(before);
    await save("the next one");
  });

  test("one that takes too long leaves nothing, and the next has its turn", async () => {
    const before = await count();
    const { prisma } = fixture.database;
    const tooLong = fixture.database.transaction(
      async (client) => {
        // Until the transaction is over, which then refuses to go on. The embedded database alone lets no timer run.
        for (;;) {
          await client.dataset.updateMany({ data: { title: "late" } });
          await setImmediate();
        }
      },
      { timeout: 50 },
    );
    const [late, next] = await Promise.allSettled([tooLong, save("the next one")]);
    expect(late).toMatchObject({
      status: "rejected",
      reason: { kind: "unavailable", cause: { code: "P2028" } },
    });
    expect(next.status).toBe("fulfilled");
    expect(await count()).toBe(before + 1);
    expect(await prisma.dataset.count({ where: { title: "late" } })).toBe(0);
  });

  test("of many that wait for each other each is told what became of its own", async () => {
    const before = await count();
    const titles = Array.from({ length: 20 }, (_, index) => (index % 3 === 1 ? "XX001" : `title ${index}`));
    const outcomes = await Promise.allSettled(titles.map(save));
    const failed = titles.map((title) => title === "XX001");
    expect(outcomes.map(({ status }) => status === "rejected")).toEqual(failed);
    expect(await count()).toBe(before + failed.filter((isFailed) => !isFailed).length);
  });
});
