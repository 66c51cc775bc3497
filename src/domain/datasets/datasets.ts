import { randomUUID } from "node:crypto";
import type { AccountStore } from "../accounts/account.js";
import type { Clock } from "../clock.js";
import { DomainError, invalid, notFound } from "../errors.js";
import { managedAccount, manages, requireManager } from "../identity/management.js";
import type { Caller } from "../identity/principal.js";
import { type Cursors, type ListedPage, type ListRequest, readPage } from "../page.js";
import { ConcurrentChangeError, DuplicateError } from "../store.js";
import type { Dataset, DatasetStore, DatasetTransaction } from "./dataset.js";
import {
  type DatasetChange,
  type DatasetInput,
  findRepeated,
  settings,
  withChange,
} from "./dataset-rules.js";
import { scopeOf, type Tenancy } from "./scope.js";

export interface UpsertResult {
  /** In the order of the request. */
  readonly ids: readonly string[];
  readonly createdCount: number;
  readonly updatedCount: number;
}

/** Managing datasets. Every use case throws DomainError for callers who may not, and hides other accounts' datasets. */
export interface Datasets {
  create(caller: Caller, input: DatasetInput): Promise<Dataset>;
  get(caller: Caller, id: string): Promise<Dataset>;
  list(caller: Caller, accountId: string | undefined, request: ListRequest): Promise<ListedPage<Dataset>>;
  update(caller: Caller, id: string, change: DatasetChange, etag?: string): Promise<Dataset>;
  delete(caller: Caller, id: string, etag?: string): Promise<void>;
  /** All or nothing. `onProgress` hears how many are done, of a number that may be far above a request's limit. */
  upsert(
    caller: Caller,
    accountId: string | undefined,
    inputs: readonly DatasetInput[],
    onProgress?: (done: number) => void,
  ): Promise<UpsertResult>;
}

export interface DatasetsOptions {
  readonly store: DatasetStore;
  readonly accounts: Pick<AccountStore, "find" | "findOnly">;
  readonly tenancy: Tenancy;
  readonly cursors: Cursors;
  readonly clock: Clock;
}

/** Rows per statement: few enough for one statement to stay short, many enough to spare round trips. */
const UPSERT_CHUNK = 500;

/** Concurrent writers that keep losing to each other end here rather than never. */
const MAX_ATTEMPTS = 5;

export const etagOf = (dataset: Dataset): string => `r${dataset.revision}`;

export function createDatasets({ store, accounts, tenancy, cursors, clock }: DatasetsOptions): Datasets {
  async function owningAccount(
    caller: Caller,
    requested: string | undefined,
    field: string,
  ): Promise<string> {
    const accountId = managedAccount(requireManager(caller), requested, field);
    if ((await accounts.find(accountId)) === undefined) throw notFound("account");
    return accountId;
  }

  /** With several accounts ids are the operator's to choose: a refusal of one that is taken would tell of another account's. */
  async function mayChooseIds(caller: Caller): Promise<boolean> {
    return requireManager(caller).all || (await accounts.findOnly()) !== undefined;
  }

  function newDataset(accountId: string, input: DatasetInput, path: string): Dataset {
    const identity = { id: input.id ?? randomUUID(), accountId };
    const given = settings(input, path);
    const now = clock();
    const scope = scopeOf({ ...given, ...identity }, tenancy);
    return { ...given, ...identity, scope, revision: 1, created: now, changed: now };
  }

  /** Reads, changes and writes one dataset; who read it before somebody else wrote it starts anew. */
  async function change(
    caller: Caller,
    id: string,
    etag: string | undefined,
    apply: (current: Dataset) => Dataset,
  ): Promise<Dataset> {
    const scope = requireManager(caller);
    return retrying(() =>
      store.transaction(async (transaction) => {
        const [current] = await transaction.findTaken([id], []);
        if (current === undefined || current.deleted !== undefined || !manages(scope, current.accountId)) {
          throw notFound("dataset");
        }
        if (etag !== undefined && etag !== etagOf(current)) {
          throw new DomainError("aborted", "STALE_ETAG", "the dataset has changed since the etag was read");
        }
        const changed = { ...apply(current), revision: current.revision + 1, changed: clock() };
        await transaction.save([changed]);
        return changed;
      }),
    );
  }

  return {
    async create(caller, input) {
      const accountId = await owningAccount(caller, input.accountId, "dataset.account_id");
      const dataset = newDataset(accountId, input, "dataset");
      if (input.id !== undefined && !(await mayChooseIds(caller))) throw notToBeChosen("dataset.id");
      await retrying(() =>
        store.transaction(async (transaction) => {
          const taken = await transaction.findTaken([dataset.id], [dataset.scope]);
          if (taken.some(({ id }) => id === dataset.id)) throw alreadyExists("dataset.id");
          if (taken.length > 0) throw alreadyExists("dataset.table_name");
          await transaction.save([dataset]);
        }),
      );
      return dataset;
    },

    async get(caller, id) {
      const scope = requireManager(caller);
      const dataset = (await store.findMany([id])).get(id);
      if (dataset === undefined || !manages(scope, dataset.accountId)) throw notFound("dataset");
      return dataset;
    },

    async list(caller, requested, request) {
      const scope = requireManager(caller);
      const everything = scope.all && requested === undefined;
      const accountId = everything ? undefined : managedAccount(scope, requested);
      return readPage(cursors, { of: "datasets", accountId }, request, (page) => store.list(accountId, page));
    },

    update: (caller, id, changes, etag) =>
      change(caller, id, etag, (current) => withChange(current, changes)),

    async delete(caller, id, etag) {
      await change(caller, id, etag, (current) => ({ ...current, deleted: clock() }));
    },

    async upsert(caller, requested, inputs, onProgress) {
      const accountId = await owningAccount(caller, requested, "account_id");
      const fresh = inputs.map((input, index) => {
        if (input.accountId !== undefined && input.accountId !== accountId) {
          throw invalid(`datasets[${index}].account_id`, "must be empty or the request's account_id");
        }
        return newDataset(accountId, input, `datasets[${index}]`);
      });
      const repeated =
        findRepeated(
          fresh,
          ({ id }) => id,
          (index) => `datasets[${index}].id`,
        ) ??
        findRepeated(
          fresh,
          ({ tableName }) => tableName,
          (index) => `datasets[${index}].table_name`,
        );
      if (repeated !== undefined) throw repeated;
      const choosesIds = await mayChooseIds(caller);
      return retrying(() =>
        store.transaction(async (transaction) => {
          const ids: string[] = [];
          let createdCount = 0;
          for (let start = 0; start < fresh.length; start += UPSERT_CHUNK) {
            const some = fresh.slice(start, start + UPSERT_CHUNK);
            const chunk = await merge(transaction, some, inputs, start, choosesIds);
            await transaction.save(chunk.datasets);
            ids.push(...chunk.datasets.map(({ id }) => id));
            createdCount += chunk.createdCount;
            onProgress?.(ids.length);
          }
          return { ids, createdCount, updatedCount: ids.length - createdCount };
        }),
      );
    },
  };
}

/** Lays `fresh` datasets, the request's from `start` on, over those that exist: same id, or same table if no id is given. */
async function merge(
  transaction: DatasetTransaction,
  fresh: readonly Dataset[],
  inputs: readonly DatasetInput[],
  start: number,
  choosesIds: boolean,
) {
  const taken = await transaction.findTaken(
    fresh.map(({ id }) => id),
    fresh.map(({ scope }) => scope),
  );
  const byId = new Map(taken.map((dataset) => [dataset.id, dataset]));
  const byScope = new Map(taken.map((dataset) => [dataset.scope, dataset]));
  let createdCount = 0;
  const datasets = fresh.map((dataset, offset) => {
    const path = `datasets[${start + offset}]`;
    const holder = byScope.get(dataset.scope);
    const named = inputs[start + offset]?.id !== undefined;
    const existing = named ? byId.get(dataset.id) : holder;
    const isOwn = existing?.accountId === dataset.accountId;
    if (named && !isOwn && !choosesIds) throw notToBeChosen(`${path}.id`);
    if (existing === undefined) {
      if (holder !== undefined) throw alreadyExists(`${path}.table_name`);
      createdCount += 1;
      return dataset;
    }
    if (!isOwn) throw alreadyExists(`${path}.${named ? "id" : "table_name"}`);
    if (existing.kind !== dataset.kind) throw invalid(`${path}.kind`, "is immutable");
    if (existing.tableName !== dataset.tableName) throw invalid(`${path}.table_name`, "is immutable");
    if (existing.deleted !== undefined) createdCount += 1;
    const { id, scope, created } = existing;
    return { ...dataset, id, scope, created, revision: existing.revision + 1 };
  });
  return { datasets, createdCount };
}

/** The same for an id that is free and for one that is another account's. */
const notToBeChosen = (field: string) =>
  invalid(field, "only the operator may choose ids where there are several accounts");

async function retrying<T>(attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await attempt();
    } catch (error) {
      const lostRace = error instanceof ConcurrentChangeError || error instanceof DuplicateError;
      if (!lostRace) throw error;
      if (attempts === MAX_ATTEMPTS) {
        throw new DomainError("aborted", "CONTENTION", "others are changing the same, try again", {
          cause: error,
        });
      }
    }
  }
}

const alreadyExists = (field: string) =>
  new DomainError("already_exists", "ALREADY_EXISTS", `${field}: is or was another dataset's`, { field });
