/** Whether any key of a verifier's ring signed a text: `sig` is lower-case hex. */
export type IsSigned = (text: string, sig: string) => Promise<boolean>;

/** Whether a token is revoked that is good otherwise. What it throws or rejects with, `verify` rejects with. */
export type IsRevoked = (scope: string, exp: number, isSigned: IsSigned) => boolean | Promise<boolean>;

export interface PollingOptions {
  /** How long a list is good for, and how soon one that couldn't be had is asked for again. Default: 30. */
  readonly pollSeconds?: number;
  /** Default: the runtime's. */
  readonly fetch?: typeof fetch;
}

interface SignedList {
  /** Unix seconds by scope: tokens that expire then or before are revoked. */
  readonly revocations: Readonly<Record<string, number>>;
  /** Counts up. */
  readonly issued: number;
  readonly sig: string;
}

/** A tile waits no longer for a list. */
const PATIENCE_MS = 2_000;

/**
 * Tilegate's revocation list, read when a tile is asked for and the list that is held is old: no timer keeps a process, and on Workers
 * nothing outlives the request that began it. Never rejects: while there is no new list that a key of the ring signed, the one that is
 * held counts, and before there is any, nothing is revoked.
 *
 * @param url Of `/.well-known/tilegate/revocations`.
 */
export function pollRevocations(url: string | URL, options: PollingOptions = {}): IsRevoked {
  const { pollSeconds = 30, fetch = globalThis.fetch } = options;
  let list: SignedList | undefined;
  let headers = {};
  let dueAt = 0;

  /** Rejects where nothing is new: 304 has no body. */
  async function poll(isSigned: IsSigned): Promise<void> {
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    const read = (await answer.json()) as SignedList;
    const { revocations, issued, sig } = read;
    const lines = Object.keys(revocations)
      .sort()
      .map((scope) => `${revocations[scope]} ${scope}\n`);
    if (!(await isSigned(`revocations\n${issued}\n${lines.join("")}`, sig))) return;
    // A cache on the way may bring an old one.
    if (list !== undefined && issued < list.issued) return;
    list = read;
    headers = { "if-none-match": answer.headers.get("etag") };
  }

  return async (scope, exp, isSigned) => {
    const now = Date.now();
    if (now >= dueAt) {
      // Others go on with the list that is held. Without one they ask themselves.
      if (list) dueAt = now + pollSeconds * 1000;
      await poll(isSigned).catch(() => {});
      dueAt = now + pollSeconds * 1000;
    }
    return exp <= (list?.revocations[scope] ?? 0);
  };
}
