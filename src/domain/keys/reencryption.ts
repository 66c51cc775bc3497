import type { ApiKey, ApiKeyStore, SealedToken } from "./api-key.js";
import { type TokenPlace, type Vault, VaultError } from "./vault.js";

export interface ReencryptionProgress {
  /** Keys looked at, deleted ones too. */
  readonly scanned: number;
  /** Keys that were moved to the newest encryption key. */
  readonly reencrypted: number;
  /** Keys that stay as they are, since no encryption key of the ring opens them. */
  readonly unreadable: number;
}

export interface ReencryptionOptions {
  readonly store: Pick<ApiKeyStore, "find" | "listAll" | "replace">;
  readonly vault: Vault;
  /** Called after each page of 500. */
  readonly onProgress?: (progress: ReencryptionProgress) => void;
  /** Names the key. The others are moved nevertheless. */
  readonly onUnreadable?: (error: VaultError) => void;
  /** Stops between two keys. */
  readonly signal?: AbortSignal;
}

const PAGE_SIZE = 500;

/**
 * Moves every key to the first encryption key of the vault's ring. Safe while serving, provided that every replica has
 * that encryption key in its ring. Interrupted, it is simply run again: what is done is not done again.
 *
 * @throws the signal's reason; DomainError unavailable.
 */
export async function reencryptApiKeys(options: ReencryptionOptions): Promise<ReencryptionProgress> {
  const { store, vault, onProgress, onUnreadable, signal } = options;
  const done = { scanned: 0, reencrypted: 0, unreadable: 0 };
  let page: readonly ApiKey[] = [];
  do {
    page = await store.listAll({ limit: PAGE_SIZE, after: page.at(-1)?.id });
    for (const key of page) {
      signal?.throwIfAborted();
      try {
        if (await reencrypt(key, store, vault)) done.reencrypted++;
      } catch (error) {
        // Were one broken row the end of it, no later row could ever leave an old encryption key.
        if (!(error instanceof VaultError)) throw error;
        done.unreadable++;
        onUnreadable?.(error);
      }
      done.scanned++;
    }
    onProgress?.({ ...done });
  } while (page.length === PAGE_SIZE);
  return done;
}

/** False if there is nothing to do, because it is done or the key is gone. */
async function reencrypt(
  listed: ApiKey,
  store: ReencryptionOptions["store"],
  vault: Vault,
): Promise<boolean> {
  let key: ApiKey | undefined = listed;
  while (key !== undefined) {
    const resealed = reseal(key, vault);
    if (resealed === undefined) return false;
    if (await store.replace({ ...resealed, revision: key.revision + 1 }, key.revision)) return true;
    // Somebody changed it meanwhile: their tokens are what is to be kept.
    key = await store.find(key.id);
  }
  return false;
}

function reseal(key: ApiKey, vault: Vault): ApiKey | undefined {
  const { current, previous } = key;
  const tokens = previous === undefined ? [current] : [current, previous];
  if (!tokens.some(vault.needsReencryption)) return undefined;
  const move = (sealed: SealedToken, place: TokenPlace) => vault.seal(vault.open(sealed, place), place);
  return {
    ...key,
    current: move(current, { apiKeyId: key.id, role: "current" }),
    previous: previous && { ...previous, ...move(previous, { apiKeyId: key.id, role: "previous" }) },
  };
}
