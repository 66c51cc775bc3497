import type { Clock } from "../domain/clock.js";
import type { Authenticator, Credentials } from "../domain/identity/authenticator.js";
import type { Caller } from "../domain/identity/principal.js";
import { createSecondMemo } from "../fast-path/second-memo.js";
import { isAnonymous, keyOf } from "./credentials.js";

/** Resolves credentials, and takes the same ones for the same caller again, within a second and as long as nothing has changed. */
export interface Callers {
  /** Undefined: these must be resolved. */
  peek(credentials: Credentials, now: Date): Caller | undefined;
  /** @throws what the authenticator throws. */
  resolve(credentials: Credentials): Promise<Caller>;
}

export interface CallersOptions {
  readonly authenticator: Authenticator;
  /** Grows with every change of an API key, service token or account that this process hears of. */
  readonly generation: () => number;
  readonly clock: Clock;
}

/** A second's different callers. */
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

export function createCallers(options: CallersOptions): Callers {
  const { authenticator, generation, clock } = options;
  const rememberedAt = createSecondMemo<string, Remembered>({ generation, maxEntries: MAX_CALLERS });

  return {
    peek(credentials, now) {
      if (isAnonymous(credentials)) return ANONYMOUS;
      const known = rememberedAt(now).get(keyOf(credentials));
      if (known === undefined || known.until <= now.getTime()) return undefined;
      known.note(now);
      return known.caller;
    },

    async resolve(credentials) {
      // From before the look-ups: what changes during them must not be overlooked.
      const begun = generation();
      const remembered = rememberedAt(clock());
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
