import type { Logger } from "pino";
import type { ReadSigningKeyFiles } from "../config/signing-key-files.js";
import type { SigningKeyRing } from "../domain/tile-tokens/key-ring.js";
import type { ReloadRequests } from "./reload-requests.js";

export interface SigningKeyReloadOptions {
  readonly read: ReadSigningKeyFiles;
  readonly ring: SigningKeyRing;
  readonly log: Logger;
}

/** Takes over what the files of the signing keys hold. */
export interface SigningKeyReload {
  /**
   * Looks once. What it finds counts if it found the same the last time: a file that is being written must not be taken half.
   * Keys that can't be used leave the ring as it is, with one line in the log.
   */
  look(): Promise<void>;
  /** Has the next outcome logged in any case: somebody waits for it. */
  ask(): void;
}

/** What is written is taken when it has been seen twice, so within twice that: a second at most. */
const LOOK_EVERY_MS = 400;

export function createSigningKeyReload({ read, ring, log }: SigningKeyReloadOptions): SigningKeyReload {
  let seen: string | undefined;
  let taken: string | undefined;
  let isAsked = false;
  let isBroken = false;

  return {
    async look() {
      // Whoever asks while the files are read means what they hold afterwards.
      const wasAsked = isAsked;
      const { fingerprint, keys, problems } = await read();
      const isSettled = fingerprint === seen;
      seen = fingerprint;
      if (!isSettled || (fingerprint === taken && !wasAsked)) return;
      const isAwaited = wasAsked || isBroken;
      taken = fingerprint;
      if (wasAsked) isAsked = false;
      isBroken = keys === undefined;
      if (keys === undefined) {
        log.error({ problems }, "signing keys can't be read again, the ones before stay");
        return;
      }
      const isChanged = ring.replace(keys);
      if (!isChanged && !isAwaited) return;
      const published = ring.publicKeys().map(({ kid }) => kid);
      log.info(
        { hmacKeys: keys.hmac.length, ed25519Keys: published },
        isChanged ? "signing keys reloaded" : "signing keys read again, unchanged",
      );
    },
    ask() {
      isAsked = true;
    },
  };
}

export interface SigningKeyFollowing extends Omit<SigningKeyReloadOptions, "read"> {
  /** Undefined: there is no file that could change. */
  readonly read: ReadSigningKeyFiles | undefined;
  readonly requests: ReloadRequests;
}

/** Follows the files, one look at a time, until it is disposed of. Keeps no process. */
export function followSigningKeys({ read, ring, log, requests }: SigningKeyFollowing): Disposable {
  if (read === undefined) {
    const answer = () => log.info("signing keys are in no file that could be read again");
    requests.on("reload", answer);
    return { [Symbol.dispose]: () => void requests.off("reload", answer) };
  }
  const { look, ask } = createSigningKeyReload({ read, ring, log });
  let isLooking = false;
  const timer = setInterval(async () => {
    if (isLooking) return;
    isLooking = true;
    await look();
    isLooking = false;
  }, LOOK_EVERY_MS).unref();
  requests.on("reload", ask);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      requests.off("reload", ask);
    },
  };
}
