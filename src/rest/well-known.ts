import { z } from "zod";
import { type Clock, unixSeconds } from "../domain/clock.js";
import type { Datasets } from "../domain/datasets/datasets.js";
import type { SigningKeyRing } from "../domain/tile-tokens/key-ring.js";
import { type Caching, CROSS_ORIGIN } from "../front/answer-headers.js";
import { KeptJson, type RestRoute } from "./route.js";

export interface WellKnownOptions {
  readonly keyRing: Pick<SigningKeyRing, "publicKeys" | "signText">;
  readonly datasets: Pick<Datasets, "listRevocations">;
  /** Grows with every change of a dataset or a signing key that this process hears of. */
  readonly generation: () => number;
  readonly clock: Clock;
}

const jwks = z.strictObject({
  keys: z.array(
    z.strictObject({
      kty: z.literal("OKP"),
      crv: z.literal("Ed25519"),
      x: z.string(),
      kid: z.string(),
      alg: z.literal("EdDSA"),
      use: z.literal("sig"),
    }),
  ),
});

const revocationList = z.strictObject({
  revocations: z.record(z.string(), z.int()),
  issued: z.int(),
  sig: z.string(),
});

/** Of public keys: so long before one signs, verifiers must have it (docs/signing-keys.md). */
const KEYS: Caching = { control: "public, max-age=300", vary: [] };

/** Of the list of revocations: so much later the edge obeys. */
const REVOCATIONS: Caching = { control: "public, max-age=5", vary: [] };

/**
 * How often a list is issued anew of which nothing has changed. Between, it is the same, byte for byte, so that who has it needs no other;
 * and nobody can pass off one of yesterday for longer than verifiers take.
 */
const ISSUED_EVERY_SECONDS = 10;

/** What edges verify by that ask for no token: public keys, and which tokens are refused. */
export function createWellKnownRoutes({
  keyRing,
  datasets,
  generation,
  clock,
}: WellKnownOptions): RestRoute[] {
  /** One statement for all who ask within a second, as long as nothing changes. */
  let latest: { readonly second: number; readonly era: number; readonly list: Promise<KeptJson> } | undefined;

  async function issue(now: number): Promise<KeptJson> {
    const issued = now - (now % ISSUED_EVERY_SECONDS);
    const entries = [...(await datasets.listRevocations())].sort((a, b) => (a.scope < b.scope ? -1 : 1));
    const lines = entries.map(({ scope, untilExp }) => `${untilExp} ${scope}\n`);
    const sig = keyRing.signText(`revocations\n${issued}\n${lines.join("")}`);
    const list = Object.fromEntries(entries.map(({ scope, untilExp }) => [scope, untilExp]));
    return new KeptJson(Buffer.from(JSON.stringify({ revocations: list, issued, sig })), REVOCATIONS);
  }

  return [
    {
      name: "jwks",
      method: "GET",
      path: "/.well-known/jwks.json",
      policy: CROSS_ORIGIN,
      response: jwks,
      handle: () => new KeptJson(Buffer.from(JSON.stringify({ keys: keyRing.publicKeys() })), KEYS),
    },
    {
      name: "revocations",
      method: "GET",
      path: "/.well-known/tilegate/revocations",
      policy: CROSS_ORIGIN,
      response: revocationList,
      async handle() {
        const second = unixSeconds(clock());
        const era = generation();
        if (latest?.second !== second || latest.era !== era) latest = { second, era, list: issue(second) };
        return latest.list;
      },
    },
  ];
}
