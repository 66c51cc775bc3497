import { type Clock, unixSeconds } from "../domain/clock.js";
import type { Authenticator, Credentials } from "../domain/identity/authenticator.js";
import type { Caller } from "../domain/identity/principal.js";

/** Takes the same credentials for the same caller again, within a second and as long as nothing has changed. */
export interface AuthenticationMemo {
  /** Undefined: these must be resolved. */
  peek(credentials: Credentials): Caller | undefined;
  /** @throws what the authenticator throws. */
  resolve(credentials: Credentials): Promise<Caller>;
}

export interface AuthenticationMemoOptions {
  readonly authenticator: Authenticator;
  /** Grows with every change of an API key, service token or account that this process hears of. */
  readonly generation: () => number;
  readonly clock: Clock;
}

/** A second's different callers. More begin anew: nothing depends on being remembered. */
const MAX_CALLERS = 5_000;

/** Longer headers are resolved each time, so that nobody fills the memory with theirs: 10 MB at most. */
const MAX_KEY_LENGTH = 2_000;

const ANONYMOUS: Caller = [];

interface Remembered {
  readonly caller: Caller;
  /** Unix milliseconds. */
  readonly until: number;
  note(at: Date): void;
}

export function createAuthenticationMemo(options: AuthenticationMemoOptions): AuthenticationMemo {
  const { authenticator, generation, clock } = options;
  const remembered = new Map<string, Remembered>();
  let second = 0;
  let era = 0;

  /** What was true a second ago, or before the last change, is no more. */
  function forgetOld(now: Date): void {
    if (unixSeconds(now) === second && generation() === era && remembered.size < MAX_CALLERS) return;
    remembered.clear();
    second = unixSeconds(now);
    era = generation();
  }

  return {
    peek(credentials) {
      if (credentials.authorization === undefined && credentials.apiKey === undefined) return ANONYMOUS;
      const now = clock();
      forgetOld(now);
      const known = remembered.get(keyOf(credentials));
      if (known === undefined || known.until <= now.getTime()) return undefined;
      known.note(now);
      return known.caller;
    },

    async resolve(credentials) {
      // From before the look-ups: what changes during them must not be overlooked.
      forgetOld(clock());
      const begun = era;
      const { caller, reuse } = await authenticator.authenticate(credentials);
      const key = keyOf(credentials);
      if (reuse !== undefined && key.length <= MAX_KEY_LENGTH && begun === generation()) {
        const { until, note } = reuse;
        remembered.set(key, { caller, until: until?.getTime() ?? Number.POSITIVE_INFINITY, note });
      }
      return caller;
    },
  };
}

/** A line break can't be in a header. */
const keyOf = ({ authorization, apiKey, source }: Credentials): string =>
  `${authorization}\n${apiKey}\n${source.origin}\n${source.referer}\n${source.userAgent}`;
