import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.js";
import { DomainError, invalid, notFound } from "../errors.js";
import {
  managedAccount,
  manages,
  requireAdministrator,
  requireMember,
  requireOperator,
} from "../identity/management.js";
import type { Caller } from "../identity/principal.js";
import { generateSecret, hashSecret } from "../identity/secret.js";
import { type Cursors, type ListedPage, type ListRequest, readPage } from "../page.js";
import { DuplicateError } from "../store.js";
import type { UnitOfWork } from "../unit-of-work.js";
import { isUuid } from "../uuid.js";
import type { Account, AccountStore, ServiceToken, ServiceTokenStore } from "./account.js";
import { requireAccount } from "./require-account.js";

/** Managing accounts and their service tokens. Every use case throws DomainError for callers who may not. */
export interface Accounts {
  create(caller: Caller, input: { id?: string; name: string }): Promise<Account>;
  get(caller: Caller, id: string): Promise<Account>;
  /** Operator only. @throws DomainError not_found. */
  findByName(caller: Caller, name: string): Promise<Account>;
  list(caller: Caller, request: ListRequest): Promise<ListedPage<Account>>;
  /** The secret is in the answer, and nowhere else ever after. */
  createServiceToken(
    caller: Caller,
    input: { accountId?: string; name: string; expireTime?: Date },
  ): Promise<{ serviceToken: ServiceToken; secret: string }>;
  listServiceTokens(
    caller: Caller,
    request: ListRequest,
    accountId?: string,
  ): Promise<ListedPage<ServiceToken>>;
  revokeServiceToken(caller: Caller, id: string): Promise<ServiceToken>;
}

export interface AccountsOptions {
  readonly unitOfWork: UnitOfWork;
  readonly accounts: AccountStore;
  readonly serviceTokens: ServiceTokenStore;
  readonly cursors: Cursors;
  readonly clock: Clock;
}

export function createAccounts(options: AccountsOptions): Accounts {
  const { unitOfWork, accounts, serviceTokens, cursors, clock } = options;

  return {
    async create(caller, { id = randomUUID(), name }) {
      requireOperator(caller);
      // A claim in the form of an id is taken for an id, so such a name would name another account.
      if (isUuid(name)) throw invalid("name", "must not have the form of a UUID");
      const account = { id, name, created: clock() };
      await unitOfWork.write(async (transaction) => {
        try {
          await transaction.accounts.insert(account);
        } catch (error) {
          if (!(error instanceof DuplicateError)) throw error;
          const { field } = error;
          throw new DomainError("already_exists", "ALREADY_EXISTS", `${field}: is taken`, { field });
        }
      });
      return account;
    },

    async get(caller, id) {
      requireMember(caller, id);
      const account = await accounts.read(id);
      if (account === undefined) throw notFound("account");
      return account;
    },

    async findByName(caller, name) {
      requireOperator(caller);
      const account = await accounts.readByName(name);
      if (account === undefined) throw notFound("account");
      return account;
    },

    async list(caller, request) {
      requireOperator(caller);
      return readPage(cursors, { of: "accounts" }, request, (page) => accounts.list(page));
    },

    async createServiceToken(caller, { accountId: requested, name, expireTime }) {
      const accountId = managedAccount(requireAdministrator(caller), requested);
      const now = clock();
      if (expireTime !== undefined && expireTime <= now)
        throw invalid("expire_time", "must be in the future");
      const secret = generateSecret("tgs_");
      const serviceToken: ServiceToken = {
        id: randomUUID(),
        accountId,
        name,
        secretHash: hashSecret(secret),
        created: now,
        expireTime,
      };
      await unitOfWork.write(async (transaction) => {
        await requireAccount(transaction.accounts, accountId);
        await transaction.serviceTokens.insert(serviceToken);
      });
      return { serviceToken, secret };
    },

    async listServiceTokens(caller, request, requested) {
      const accountId = managedAccount(requireAdministrator(caller), requested);
      await requireAccount(accounts, accountId);
      const listing = { of: "service_tokens", accountId } as const;
      return readPage(cursors, listing, request, (page) => serviceTokens.list(accountId, page));
    },

    async revokeServiceToken(caller, id) {
      const scope = requireAdministrator(caller);
      return unitOfWork.write(async (transaction) => {
        const token = await transaction.serviceTokens.read(id);
        if (token === undefined || !manages(scope, token.accountId)) throw notFound("service token");
        const revoked = await transaction.serviceTokens.revoke(id, clock());
        if (revoked === undefined) throw notFound("service token");
        return revoked;
      });
    },
  };
}
