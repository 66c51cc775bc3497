import type {
  Account,
  AccountStore,
  ServiceToken,
  ServiceTokenStore,
} from "../../domain/accounts/account.js";
import type { Clock } from "../../domain/clock.js";
import type { Load, VersionedCache } from "./versioned-cache.js";

/** A token changes once, when it is revoked. */
const revisionOf = (token: ServiceToken): number => (token.revoked === undefined ? 1 : 2);

const hex = (hash: Uint8Array): string => Buffer.from(hash).toString("hex");

export const loadServiceTokens =
  (store: Pick<ServiceTokenStore, "findBySecretHash">): Load<ServiceToken> =>
  async ([hash = ""]) => {
    const value = await store.findBySecretHash(Buffer.from(hash, "hex"));
    return value === undefined ? new Map() : new Map([[hash, { value, revision: revisionOf(value) }]]);
  };

/** `store` with `cache` in front of the look-up by secret, told of every write that goes through it. */
export function createCachedServiceTokenStore(
  store: ServiceTokenStore,
  cache: VersionedCache<ServiceToken>,
  clock: Clock,
): ServiceTokenStore {
  const announce = (value: ServiceToken) =>
    cache.announce(
      new Map([[hex(value.secretHash), { revision: revisionOf(value), value, readAt: clock().getTime() }]]),
    );
  return {
    ...store,
    async findBySecretHash(secretHash) {
      const hash = hex(secretHash);
      return (await cache.getMany([hash])).get(hash)?.value;
    },
    async insert(token) {
      await store.insert(token);
      await announce(token);
    },
    async revoke(id, at) {
      const token = await store.revoke(id, at);
      if (token !== undefined) await announce(token);
      return token;
    },
  };
}

/** Of the account that is the only one; a name follows a colon, so none is mistaken for it. */
const ONLY = "only";

export const loadAccounts =
  (store: Pick<AccountStore, "findByName" | "findOnly">): Load<Account> =>
  async ([key = ""]) => {
    const value = key === ONLY ? await store.findOnly() : await store.findByName(key.slice(1));
    return value === undefined ? new Map() : new Map([[key, { value, revision: 1 }]]);
  };

/** `store` with `cache` in front of the look-ups that a JWT's account claim needs. Accounts never change or go. */
export function createCachedAccountStore(
  store: AccountStore,
  cache: VersionedCache<Account>,
  clock: Clock,
): AccountStore {
  const find = async (key: string) => (await cache.getMany([key])).get(key)?.value;
  return {
    ...store,
    findByName: (name) => find(`:${name}`),
    findOnly: () => find(ONLY),
    async insert(account) {
      await store.insert(account);
      const only = await store.findOnly();
      const readAt = clock().getTime();
      await cache.announce(
        new Map([
          [`:${account.name}`, { revision: 1, value: account, readAt }],
          // Once there are two, there is never again only one.
          [ONLY, { revision: only === undefined ? 2 : 1, value: only, readAt }],
        ]),
      );
    },
  };
}
