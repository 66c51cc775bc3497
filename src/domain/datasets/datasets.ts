import { randomUUID } from "node:crypto";
import type { AccountTransaction } from "../accounts/account.js";
import { requireAccount } from "../accounts/require-account.js";
import { type Clock, unixSeconds } from "../clock.js";
import { DomainError, invalid, notFound } from "../errors.js";
import { etagOf, requireCurrent } from "../etag.js";
import { managedAccount, manages, requireManager } from "../identity/management.js";
import type { Caller } from "../identity/principal.js";
import { type Cursors, type ListedPage, type ListRequest, readPage } from "../page.js";
import type { UnitOfWork } from "../unit-of-work.js";
import type { Dataset, DatasetStore, Holders, Revocation } from "./dataset.js";
import {
  type DatasetChange,
  type DatasetInput,
  findRepeated,
  settings,
  withChange,
} from "./dataset-rules.js";
import { scopeOf, type Tenancy } from "./scope.js";

/** A dataset as its managers see it. */
export interface ManagedDataset extends Dataset {
  readonly etag: string;
}

export interface UpsertResult {
  /** In the order of the request. */
  readonly ids: readonly string[];
  readonly createdCount: number;
  readonly updatedCount: number;
}

/**
 * Managing datasets. Every use case throws DomainError for callers who may not, and hides other accounts' datasets. An `etag` that
 * is not current fails with aborted STALE_ETAG; without one the last write wins.
 */
export interface Datasets {
  create(caller: Caller, input: DatasetInput): Promise<ManagedDataset>;
  get(caller: Caller, id: string): Promise<ManagedDataset>;
  /** Newest first. Without an account the caller's own, and the operator's are all. */
  list(caller: Caller, request: ListRequest, accountId?: string): Promise<ListedPage<ManagedDataset>>;
  update(caller: Caller, id: string, change: DatasetChange, etag?: string): Promise<ManagedDataset>;
  /** Revokes its tokens, too. @throws as revokeTokens, too. */
  delete(caller: Caller, id: string, etag?: string): Promise<void>;
  /**
   * Refuses every tile token of a dataset that was issued until now. Those that are issued from now on are accepted.
   * @param id Canonical.
   * @returns Tokens whose `exp` is at or before this are refused: Unix seconds.
   * @throws DomainError resource_exhausted REVOKED_TOO_OFTEN.
   */
  revokeTokens(caller: Caller, id: string): Promise<number>;
  /** All tokens that are refused and would else be alive now, whoever asks. */
  listRevocations(): Promise<readonly Revocation[]>;
  /** All or nothing. `onProgress` hears how many are done, of a number that may be far above a request's limit. */
  upsert(
    caller: Caller,
    accountId: string | undefined,
    inputs: readonly DatasetInput[],
    onProgress?: (done: number) => void,
  ): Promise<UpsertResult>;
}

export interface DatasetsOptions {
  readonly unitOfWork: UnitOfWork;
  readonly store: DatasetStore;
  readonly tenancy: Tenancy;
  /** Until which expiry its tokens are to be refused for all that were issued until now: Unix seconds. @throws DomainError */
  readonly revocationAt: (dataset: Dataset, now: Date) => number;
  readonly cursors: Cursors;
  readonly clock: Clock;
}

const managed = (dataset: Dataset): ManagedDataset => ({ ...dataset, etag: etagOf(dataset) });

export function createDatasets(options: DatasetsOptions): Datasets {
  const { unitOfWork, store, tenancy, revocationAt, cursors, clock } = options;

  /** With several accounts ids are the operator's to choose: a refusal of one that is taken would tell of another account's. */
  async function mayChooseIds(caller: Caller, accounts: AccountTransaction): Promise<boolean> {
    return requireManager(caller).all || (await accounts.readSole()) !== undefined;
  }

  function newDataset(accountId: string, input: DatasetInput, path: string): Dataset {
    const identity = { id: input.id ?? randomUUID(), accountId };
    const given = settings(input, path);
    const now = clock();
    const scope = scopeOf({ ...given, ...identity }, tenancy);
    return { ...given, ...identity, scope, revision: 1, created: now, changed: now };
  }

  async function change(
    caller: Caller,
    id: string,
    etag: string | undefined,
    apply: (current: Dataset) => Dataset,
  ): Promise<ManagedDataset> {
    const scope = requireManager(caller);
    return unitOfWork.write(async ({ datasets }) => {
      const current = (await datasets.readMany([id])).get(id);
      if (current === undefined || !manages(scope, current.accountId)) throw notFound("dataset");
      requireCurrent(etag, current, "dataset");
      const changed = { ...apply(current), revision: current.revision + 1, changed: clock() };
      await datasets.save([changed]);
      return managed(changed);
    });
  }

  return {
    async create(caller, input) {
      const accountId = managedAccount(requireManager(caller), input.accountId, "dataset.account_id");
      const dataset = newDataset(accountId, input, "dataset");
      await unitOfWork.write(async ({ accounts, datasets }) => {
        await requireAccount(accounts, accountId);
        if (input.id !== undefined && !(await mayChooseIds(caller, accounts))) {
          throw notToBeChosen("dataset.id");
        }
        await datasets.saveOver([dataset], (dataset, { ofId, ofScope }) => {
          if (ofId !== undefined) throw alreadyExists("dataset.id");
          if (ofScope !== undefined) throw alreadyExists("dataset.table_name");
          return dataset;
        });
      });
      return managed(dataset);
    },

    async get(caller, id) {
      const scope = requireManager(caller);
      const dataset = (await store.readMany([id])).get(id);
      if (dataset === undefined || !manages(scope, dataset.accountId)) throw notFound("dataset");
      return managed(dataset);
    },

    async list(caller, request, requested) {
      const scope = requireManager(caller);
      const everything = scope.all && requested === undefined;
      const accountId = everything ? undefined : managedAccount(scope, requested);
      const listing = { of: "datasets", accountId } as const;
      const { items, cursor } = await readPage(cursors, listing, request, (page) =>
        store.list(accountId, page),
      );
      return { items: items.map(managed), cursor };
    },

    update: (caller, id, changes, etag) =>
      change(caller, id, etag, (current) => withChange(current, changes)),

    async delete(caller, id, etag) {
      await change(caller, id, etag, (current) => {
        const now = clock();
        // Whoever verifies tokens by themselves hears of revocations, not of deletes.
        return { ...current, deleted: now, revokedUntilExp: revocationAt(current, now) };
      });
    },

    async revokeTokens(caller, id) {
      let revokedUntilExp = 0;
      await change(caller, id, undefined, (current) => {
        revokedUntilExp = revocationAt(current, clock());
        return { ...current, revokedUntilExp };
      });
      return revokedUntilExp;
    },

    listRevocations: () => store.readRevocations(unixSeconds(clock())),

    async upsert(caller, requested, inputs, onProgress) {
      const accountId = managedAccount(requireManager(caller), requested, "account_id");
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
      return unitOfWork.write(async ({ accounts, datasets }) => {
        await requireAccount(accounts, accountId);
        const choosesIds = await mayChooseIds(caller, accounts);
        const ids: string[] = [];
        let createdCount = 0;
        const lay = (dataset: Dataset, holders: Holders, index: number): Dataset => {
          const isNamed = inputs[index]?.id !== undefined;
          const { laid, isNew } = layOver(dataset, holders, {
            isNamed,
            choosesIds,
            path: `datasets[${index}]`,
          });
          ids.push(laid.id);
          if (isNew) createdCount += 1;
          return laid;
        };
        await datasets.saveOver(fresh, lay, onProgress);
        return { ids, createdCount, updatedCount: ids.length - createdCount };
      });
    },
  };
}

interface Laying {
  /** Whether the request says which id it has. Else its table tells which dataset it is. */
  readonly isNamed: boolean;
  /** Whether the caller may choose ids. */
  readonly choosesIds: boolean;
  /** Of the dataset in the request. */
  readonly path: string;
}

/** Lays a dataset of the request over the one that exists: same id, or same table if no id is given. */
function layOver(dataset: Dataset, { ofId, ofScope }: Holders, { isNamed, choosesIds, path }: Laying) {
  const existing = isNamed ? ofId : ofScope;
  const isOwn = existing?.accountId === dataset.accountId;
  if (isNamed && !isOwn && !choosesIds) throw notToBeChosen(`${path}.id`);
  if (existing === undefined) {
    if (ofScope !== undefined) throw alreadyExists(`${path}.table_name`);
    return { laid: dataset, isNew: true };
  }
  if (!isOwn) throw alreadyExists(`${path}.${isNamed ? "id" : "table_name"}`);
  if (existing.kind !== dataset.kind) throw invalid(`${path}.kind`, "is immutable");
  if (existing.tableName !== dataset.tableName) throw invalid(`${path}.table_name`, "is immutable");
  const { id, scope, created, revokedUntilExp } = existing;
  const laid = {
    ...dataset,
    ...{ id, scope, created },
    ...(revokedUntilExp !== undefined && { revokedUntilExp }),
    revision: existing.revision + 1,
  };
  return { laid, isNew: existing.deleted !== undefined };
}

/** The same for an id that is free and for one that is another account's. */
const notToBeChosen = (field: string) =>
  invalid(field, "only the operator may choose ids where there are several accounts");

const alreadyExists = (field: string) =>
  new DomainError("already_exists", "ALREADY_EXISTS", `${field}: is or was another dataset's`, { field });
