import type { Page, PageRequest } from "../page.js";

export interface Account {
  readonly id: string;
  readonly name: string;
  readonly created: Date;
}

export interface ServiceToken {
  readonly id: string;
  readonly accountId: string;
  readonly name: string;
  /** SHA-256 of the secret. */
  readonly secretHash: Uint8Array;
  readonly created: Date;
  readonly expireTime?: Date;
  readonly revoked?: Date;
}

export interface AccountStore {
  /** @throws DuplicateError for a taken `id` or `name`. */
  insert(account: Account): Promise<void>;
  find(id: string): Promise<Account | undefined>;
  findByName(name: string): Promise<Account | undefined>;
  /** The account, if the installation has exactly one. */
  findOnly(): Promise<Account | undefined>;
  list(page: PageRequest): Promise<Page<Account>>;
}

export interface ServiceTokenStore {
  insert(token: ServiceToken): Promise<void>;
  find(id: string): Promise<ServiceToken | undefined>;
  findBySecretHash(secretHash: Uint8Array): Promise<ServiceToken | undefined>;
  list(accountId: string, page: PageRequest): Promise<Page<ServiceToken>>;
  /** Sets the revocation time unless it is set, and returns the token as it then is. */
  revoke(id: string, at: Date): Promise<ServiceToken | undefined>;
}
