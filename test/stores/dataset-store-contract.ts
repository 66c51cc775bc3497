import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Dataset, Holders } from "../../src/domain/datasets/dataset.js";
import { ConcurrentChangeError, DuplicateError } from "../../src/domain/store.js";
import { allPages } from "./account-store-contract.js";
import {
  insertAccount,
  newAccount,
  newApiKey,
  newDataset,
  type StoreFixture,
  saveDatasets,
} from "./store-fixture.js";

/** What every implementation of DatasetStore guarantees. */
export function describeDatasetStore(open: () => Promise<StoreFixture>): void {
  let fixture: StoreFixture;
  let accountId: string;
  beforeAll(async () => {
    fixture = await open();
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    await fixture.clear();
    accountId = await anAccount();
  });

  test("a dataset comes back as it was saved, whatever its fields hold", async () => {
    // PostgreSQL stores neither U+0000 nor lone surrogates: validation refuses them before.
    const text = fc.string({ unit: "binary" }).map((value) => value.replaceAll("\0", ""));
    const time = fc.date({ min: new Date("1990-01-01"), max: new Date("2100-01-01"), noInvalidDate: true });
    const degrees = fc.double({ min: -180, max: 180, noNaN: true }).map((value) => value + 0);
    const changes = fc.record(
      {
        kind: fc.constantFrom("vector" as const, "raster" as const),
        title: text,
        owner: text,
        visibility: fc.constantFrom("public" as const, "restricted" as const, "private" as const),
        status: fc.constantFrom("draft" as const, "published" as const),
        readerRoles: fc.array(text, { maxLength: 4 }),
        readerSubjects: fc.array(text, { maxLength: 4 }),
        created: time,
        changed: time,
        cacheVersion: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        revokedUntilExp: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
        raster: fc.record(
          {
            minzoom: fc.nat({ max: 30 }),
            maxzoom: fc.nat({ max: 30 }),
            tileSize: fc.integer({ min: 64, max: 4096 }),
            format: text,
            tileUrlTemplate: text,
            bounds: fc.tuple(degrees, degrees, degrees, degrees),
          },
          { requiredKeys: ["minzoom", "maxzoom", "tileSize", "format"] },
        ),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(changes, async (some) => {
        const dataset = newDataset(accountId, some);
        await save(dataset);
        expect((await fixture.datasets.readMany([dataset.id])).get(dataset.id)).toEqual(dataset);
        expect((await fixture.datasets.list(accountId, { limit: 1 })).items).toEqual([dataset]);
        const within = await fixture.unitOfWork.write(({ datasets }) => datasets.readMany([dataset.id]));
        expect(within.get(dataset.id)).toEqual(dataset);
      }),
      { numRuns: 50 },
    );
  });

  test("unknown and deleted datasets are not found", async () => {
    const [kept, deleted] = [newDataset(accountId), newDataset(accountId, { deleted: new Date() })];
    await save(kept, deleted);
    const found = await fixture.datasets.readMany([kept.id, deleted.id, randomUUID()]);
    expect([...found.keys()]).toEqual([kept.id]);
    expect(await fixture.datasets.readMany([])).toEqual(new Map());
  });

  test("a scope tells whose it is, for ever: also of a deleted dataset, and of one that is there since just now", async () => {
    const [kept, deleted, fresh] = [
      newDataset(accountId),
      newDataset(accountId, { deleted: new Date() }),
      newDataset(accountId),
    ];
    await save(kept, deleted);
    const ids = () =>
      Promise.all([kept, deleted, fresh].map(({ scope }) => fixture.datasets.readIdByScope(scope)));
    expect(await ids()).toEqual([kept.id, deleted.id, undefined]);
    await save(fresh);
    expect(await ids()).toEqual([kept.id, deleted.id, fresh.id]);
    await save({ ...kept, deleted: new Date(), revision: 2 });
    expect(await ids()).toEqual([kept.id, deleted.id, fresh.id]);
  });

  test("revocations are listed for as long as a token may be alive that they name, deleted datasets' too", async () => {
    const now = 1_800_000_000;
    const [past, live, deleted] = [
      newDataset(accountId, { revokedUntilExp: now }),
      newDataset(accountId, { revokedUntilExp: now + 1 }),
      newDataset(accountId, { revokedUntilExp: now + 900, deleted: new Date() }),
    ];
    await save(past, live, deleted, newDataset(accountId));
    const listed = await fixture.datasets.readRevocations(now);
    expect(listed.toSorted((a, b) => a.untilExp - b.untilExp)).toEqual([
      { scope: live.scope, untilExp: now + 1 },
      { scope: deleted.scope, untilExp: now + 900 },
    ]);
  });

  test("one save takes more datasets than one statement, new and changed ones mixed", async () => {
    const old = Array.from({ length: 600 }, () => newDataset(accountId));
    await save(...old);
    const mixed = old.flatMap((dataset) => [
      { ...dataset, title: "New", revision: 2 },
      newDataset(accountId),
    ]);
    await save(...mixed);
    const found = await fixture.datasets.readMany(mixed.map((dataset) => dataset.id));
    expect(found).toEqual(new Map(mixed.map((dataset) => [dataset.id, dataset])));
  });

  test("pages list what is not deleted, newest first, of one account or of all", async () => {
    const other = await anAccount();
    const mine = [1, 2, 3].map(() => newDataset(accountId));
    const theirs = newDataset(other);
    await save(...mine, newDataset(accountId, { deleted: new Date() }), theirs);
    const list = (account: string | undefined) =>
      allPages<Dataset>((before) => fixture.datasets.list(account, { limit: 2, ...before }));
    expect((await list(accountId)).flat()).toEqual(mine.toReversed());
    expect((await list(undefined)).flat()).toEqual([theirs, ...mine.toReversed()]);
  });

  test("a dataset that lives throughout is listed once while others come and go", async () => {
    const lasting = [1, 2, 3, 4].map(() => newDataset(accountId));
    const passing = newDataset(accountId);
    await save(...lasting.slice(0, 2), passing, ...lasting.slice(2));
    const first = await fixture.datasets.list(accountId, { limit: 2 });
    await save(newDataset(accountId), { ...passing, deleted: new Date(), revision: 2 });
    const rest = await fixture.datasets.list(accountId, { limit: 10, before: first.next ?? 0n });
    expect([...first.items, ...rest.items]).toEqual(lasting.toReversed());
  });

  test("what is laid over others is told who has its id and its scope, deleted ones too", async () => {
    const byId = newDataset(accountId);
    const byScope = newDataset(accountId, { deleted: new Date() });
    await save(byId, byScope, newDataset(accountId));
    const laid = [
      newDataset(accountId, { id: byId.id }),
      newDataset(accountId, { scope: byScope.scope }),
      newDataset(accountId, { id: byId.id, scope: byScope.scope }),
      newDataset(accountId),
    ];
    const told: [number, Holders][] = [];
    const work = fixture.unitOfWork.write(({ datasets }) =>
      datasets.saveOver(laid, (dataset, holders, index) => {
        told.push([index, holders]);
        if (index === 3) throw new Error("enough");
        return dataset;
      }),
    );
    await expect(work).rejects.toThrow("enough");
    expect(told).toEqual([
      [0, { ofId: byId, ofScope: undefined }],
      [1, { ofId: undefined, ofScope: byScope }],
      [2, { ofId: byId, ofScope: byScope }],
      [3, { ofId: undefined, ofScope: undefined }],
    ]);
  });

  test("more than a statement takes are laid over those that are there, and saved as they were laid", async () => {
    const old = Array.from({ length: 600 }, () => newDataset(accountId));
    await save(...old);
    const fresh = old.flatMap((dataset) => [{ ...dataset, title: "New" }, newDataset(accountId)]);
    const laid: Dataset[] = [];
    const counts: number[] = [];
    await fixture.unitOfWork.write(({ datasets }) =>
      datasets.saveOver(
        fresh,
        (dataset, { ofId }, index) => {
          expect(dataset).toBe(fresh[index]);
          const next = ofId === undefined ? dataset : { ...dataset, revision: ofId.revision + 1 };
          laid.push(next);
          return next;
        },
        (count) => counts.push(count),
      ),
    );
    expect(counts).toEqual([500, 1_000, 1_200]);
    expect(laid.filter(({ revision }) => revision === 2)).toHaveLength(600);
    const found = await fixture.datasets.readMany(fresh.map(({ id }) => id));
    expect(found).toEqual(new Map(laid.map((dataset) => [dataset.id, dataset])));
  });

  test("what a rejected transaction saved is undone, and so are its other stores' writes", async () => {
    const dataset = newDataset(accountId);
    const account = newAccount();
    const key = newApiKey(accountId);
    const failure = new Error("changed my mind");
    await expect(
      fixture.unitOfWork.write(async ({ accounts, apiKeys, datasets }) => {
        await datasets.save([dataset]);
        await accounts.insert(account);
        await apiKeys.insert(key);
        expect((await datasets.readMany([dataset.id])).size).toBe(1);
        expect(await apiKeys.read(key.id)).toEqual(key);
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect((await fixture.datasets.readMany([dataset.id])).size).toBe(0);
    expect(await fixture.accounts.read(account.id)).toBeUndefined();
    expect(await fixture.apiKeys.read(key.id)).toBeUndefined();
  });

  test("a taken scope or id refuses the whole save, by name of the field", async () => {
    const taken = newDataset(accountId);
    await save(taken);
    const fine = newDataset(accountId);
    await expect(save(fine, newDataset(accountId, { scope: taken.scope }))).rejects.toMatchObject({
      cause: new DuplicateError("scope"),
    });
    await expect(save(fine, newDataset(accountId, { id: taken.id }))).rejects.toMatchObject({
      cause: new DuplicateError("id"),
    });
    expect((await fixture.datasets.readMany([fine.id])).size).toBe(0);
  });

  test("of several changes to one revision exactly one is saved", async () => {
    const dataset = newDataset(accountId);
    await save(dataset);
    const changes = ["a", "b", "c", "d"].map((title) => ({ ...dataset, title, revision: 2 }));
    const outcomes = await Promise.allSettled(changes.map((change) => save(change)));
    const winners = changes.filter((_, index) => outcomes[index]?.status === "fulfilled");
    const losses = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(winners).toHaveLength(1);
    expect(losses).toHaveLength(3);
    for (const loss of losses) {
      expect(loss).toMatchObject({ reason: "CONCURRENT_CHANGE", cause: expect.any(ConcurrentChangeError) });
    }
    expect([...(await fixture.datasets.readMany([dataset.id])).values()]).toEqual(winners);
  });

  test("neither a stale revision, nor another account's dataset, nor one that is not there is replaced", async () => {
    const dataset = newDataset(accountId);
    await save(dataset);
    const fine = newDataset(accountId);
    for (const wrong of [
      { ...dataset, revision: 3 },
      { ...dataset, accountId: await anAccount(), revision: 2 },
      newDataset(accountId, { revision: 2 }),
    ]) {
      await expect(save(fine, wrong)).rejects.toMatchObject({ cause: expect.any(ConcurrentChangeError) });
    }
    const found = await fixture.datasets.readMany([dataset.id, fine.id]);
    expect([...found.values()]).toEqual([dataset]);
  });

  const save = (...datasets: readonly Dataset[]): Promise<void> => saveDatasets(fixture, ...datasets);

  async function anAccount(): Promise<string> {
    const account = newAccount();
    await insertAccount(fixture, account);
    return account.id;
  }
}
