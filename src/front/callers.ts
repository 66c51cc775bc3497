import type { Authenticator } from "../domain/authentication/authenticator.js";
import type { Clock } from "../domain/clock.js";
import type { Caller } from "../domain/identity/principal.js";
import { createSecondMemo } from "../domain/second-memo.js";
import { bytesOfTexts } from "../domain/text-bytes.js";
import type { SentCredentials } from "./credentials.js";

/** Resolves credentials, and takes the same ones for the same caller again, within a second and as long as nothing has changed. */
export interface Callers {
  /** Undefined: these must be resolved. */
  peek(credentials: SentCredentials, now: Date): Caller | undefined;
  /** @param isAgain Whether it is for the same call once more. @throws what the authenticator throws. */
  resolve(credentials: SentCredentials, isAgain: boolean): Promise<Caller>;
  /** How many times credentials were resolved. */
  resolved(): number;
}

export interface CallersOptions {
  readonly authenticator: Authenticator;
  /** Grows with every change of an API key, service token or account that this process hears of. */
  readonly generation: () => number;
  readonly clock: Clock;
}

/** A second's different callers, and what is kept of them: a key with its user agent takes some 600 bytes. */
const MAX_CALLERS = 5_000;
const MAX_BYTES = 4 * 1024 * 1024;

/** The entry, the principal and the closure; and of a set that holds ids, each. Rounded up. */
const CALLER_BYTES = 400;
const ID_BYTES = 24;

const bytesOf = (caller: Caller): number =>
  caller.reduce(
    (bytes, principal) => bytes + (principal.type === "api_key" ? ID_BYTES * principal.datasetIds.size : 0),
    CALLER_BYTES,
  );

const ANONYMOUS: Caller = [];

interface Remembered {
  readonly caller: Caller;
  /** Unix milliseconds. */
  readonly until: number;
  note(at: Date): void;
}

export function createCallers(options: CallersOptions): Callers {
  const { authenticator, generation, clock } = options;
  const rememberedAt = createSecondMemo<string, Remembered>({
    generation,
    maxEntries: MAX_CALLERS,
    maxBytes: MAX_BYTES,
    sizeOf: (key, { caller }) => bytesOfTexts([key], 1) + bytesOf(caller),
  });

  let resolutions = 0;

  return {
    peek({ isAnonymous, key }, now) {
      if (isAnonymous) return ANONYMOUS;
      const known = rememberedAt(now).get(key);
      if (known === undefined || known.until <= now.getTime()) return undefined;
      known.note(now);
      return known.caller;
    },

    async resolve(credentials, isAgain) {
      resolutions += 1;
      // From before the look-ups: what changes during them must not be overlooked.
      const begun = generation();
      const remembered = rememberedAt(clock());
      const { caller, reuse } = await authenticator.authenticate(credentials, isAgain);
      if (reuse !== undefined && begun === generation()) {
        const { until, note } = reuse;
        remembered.set(credentials.key, {
          caller,
          until: until?.getTime() ?? Number.POSITIVE_INFINITY,
          note,
        });
      }
      return caller;
    },

    resolved: () => resolutions,
  };
}
