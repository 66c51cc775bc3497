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

/** The truth: each call asks the database. */
export interface AccountStore {
  read(id: string): Promise<Account | undefined>;
  readByName(name: string): Promise<Account | undefined>;
  /** The account, if the installation has exactly one. */
  readSole(): Promise<Account | undefined>;
  list(page: PageRequest): Promise<Page<Account>>;
}

export interface AccountTransaction extends Pick<AccountStore, "read" | "readSole"> {
  /** @throws DuplicateError for a taken `id` or `name`. */
  insert(account: Account): Promise<void>;
}

/** Cached: what a JWT's account claim stands for. */
export interface AccountCache {
  lookUpByName(name: string): Promise<Account | undefined>;
  /** The account, if the installation has exactly one. */
  lookUpSole(): Promise<Account | undefined>;
}

/** The truth: each call asks the database. */
export interface ServiceTokenStore {
  read(id: string): Promise<ServiceToken | undefined>;
  readBySecretHash(secretHash: Uint8Array): Promise<ServiceToken | undefined>;
  list(accountId: string, page: PageRequest): Promise<Page<ServiceToken>>;
}

export interface ServiceTokenTransaction extends Pick<ServiceTokenStore, "read"> {
  insert(token: ServiceToken): Promise<void>;
  /** Sets the revocation time unless it is set, and returns the token as it then is. */
  revoke(id: string, at: Date): Promise<ServiceToken | undefined>;
}

/** Cached: what a secret stands for. A revocation is obeyed as soon as its announcement arrives. */
export interface ServiceTokenCache {
  /** Revoked and expired ones too. */
  lookUp(secretHash: Uint8Array): Promise<ServiceToken | undefined>;
}
