import type { UnitOfWork } from "../unit-of-work.js";
import type { ApiKey, ApiKeyStore, SealedToken } from "./api-key.js";
import { type TokenPlace, type Vault, VaultError } from "./vault.js";

export interface ReencryptionProgress {
  /** Keys looked at, deleted ones too. */
  readonly scanned: number;
  /** Keys of which a token was moved to the newest encryption key. */
  readonly reencrypted: number;
  /** Keys of which a token stays as it is, since no encryption key of the ring opens it. */
  readonly unreadable: number;
}

export interface ReencryptionOptions {
  readonly unitOfWork: UnitOfWork;
  readonly store: Pick<ApiKeyStore, "listAll">;
  readonly vault: Vault;
  /** Called after each page of 500. */
  readonly onProgress?: (progress: ReencryptionProgress) => void;
  /** Names the key and which of its tokens. All others are moved nevertheless. */
  readonly onUnreadable?: (error: VaultError) => void;
  /** Stops between two keys. */
  readonly signal?: AbortSignal;
}

const PAGE_SIZE = 500;

/**
 * Moves every key to the first encryption key of the vault's ring. Safe while serving, provided that every replica has
 * that encryption key in its ring. Interrupted, it is simply run again: what is done is not done again.
 *
 * @throws the signal's reason; DomainError unavailable, or aborted where others keep changing the same key.
 */
export async function reencryptApiKeys(options: ReencryptionOptions): Promise<ReencryptionProgress> {
  const { unitOfWork, store, vault, onProgress, onUnreadable, signal } = options;
  const done = { scanned: 0, reencrypted: 0, unreadable: 0 };
  let page: readonly ApiKey[] = [];
  do {
    page = await store.listAll({ limit: PAGE_SIZE, after: page.at(-1)?.id });
    for (const key of page) {
      signal?.throwIfAborted();
      const { moved, errors } = await reencrypt(key, unitOfWork, vault);
      if (moved) done.reencrypted++;
      if (errors.length > 0) done.unreadable++;
      for (const error of errors) onUnreadable?.(error);
      done.scanned++;
    }
    onProgress?.({ ...done });
  } while (page.length === PAGE_SIZE);
  return done;
}

interface Outcome {
  /** False if there is nothing to do, because it is done or the key is gone. */
  readonly moved: boolean;
  readonly errors: readonly VaultError[];
}

async function reencrypt(listed: ApiKey, unitOfWork: UnitOfWork, vault: Vault): Promise<Outcome> {
  const { resealed, errors } = reseal(listed, vault);
  // Of most keys that were moved before, nothing needs to be written.
  if (resealed === undefined) return { moved: false, errors };
  return unitOfWork.write(async ({ apiKeys }) => {
    // As it is now: if somebody changed it meanwhile, their tokens are what is to be kept.
    const key = await apiKeys.read(listed.id);
    if (key === undefined) return { moved: false, errors: [] };
    const { resealed, errors } = reseal(key, vault);
    if (resealed === undefined) return { moved: false, errors };
    await apiKeys.replace({ ...resealed, revision: key.revision + 1 }, key);
    return { moved: true, errors };
  });
}

/** Opens tokens that need no moving too, so that every broken one is told of. */
function reseal(key: ApiKey, vault: Vault) {
  const errors: VaultError[] = [];
  function move<Token extends SealedToken>(sealed: Token, role: TokenPlace["role"]): Token {
    const place = { apiKeyId: key.id, role };
    try {
      const token = vault.open(sealed, place);
      return vault.needsReencryption(sealed) ? { ...sealed, ...vault.seal(token, place) } : sealed;
    } catch (error) {
      // Were one broken token the end of it, no later one could ever leave an old encryption key. Its hash still finds it.
      if (!(error instanceof VaultError)) throw error;
      errors.push(error);
      return sealed;
    }
  }
  const current = move(key.current, "current");
  const previous = key.previous && move(key.previous, "previous");
  const isSame = current === key.current && previous === key.previous;
  return { resealed: isSame ? undefined : { ...key, current, previous }, errors };
}
