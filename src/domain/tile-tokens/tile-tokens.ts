import { type Denial, decideAccess, mayKnowOf } from "../access/access.js";
import { type Clock, unixSeconds } from "../clock.js";
import type { Bounds, Dataset, DatasetCache } from "../datasets/dataset.js";
import { DomainError } from "../errors.js";
import type { Caller } from "../identity/principal.js";
import type { SigningKeyRing } from "./key-ring.js";
import { expiryAt, type TokenLifetime } from "./lifetime.js";

interface SignedScope {
  readonly sig: string;
  /** Unix seconds. */
  readonly exp: number;
  readonly scope: string;
  /** Whole seconds from now until `exp`. */
  readonly expiresIn: number;
}

export interface VectorTileToken extends SignedScope {
  readonly kind: "vector";
}

export interface RasterTileToken extends SignedScope {
  readonly kind: "raster";
  /** Signed template with literal {z}, {x} and {y}. */
  readonly tileUrl: string;
  readonly bounds?: Bounds;
  readonly minzoom: number;
  readonly maxzoom: number;
  readonly tileSize: number;
  readonly format: string;
}

export interface TileTokenRefusal {
  readonly kind: "error";
  readonly code: Denial | "unavailable";
  readonly message: string;
}

export type TileToken = VectorTileToken | RasterTileToken;

export interface KnownDataset {
  readonly dataset: Dataset;
  /** Signs, unless it is signed. Good for the second in which the dataset was looked up. */
  token(): TileToken;
}

export type TileTokenVerdict =
  | { readonly valid: true; readonly expiresIn: number }
  | { readonly valid: false; readonly reason: "expired" | "signature" };

export interface TileTokens {
  /** One outcome for each distinct id. Ids must be canonical. Never rejects for the sake of a dataset. */
  batch(caller: Caller, ids: readonly string[]): Promise<ReadonlyMap<string, TileToken | TileTokenRefusal>>;
  /**
   * A dataset that is known without waiting, whoever asks: the caller decides access, and leaves to `batch` and `get` what
   * `mayKnowOf` denies, since what isn't there is undefined here too.
   */
  peek(id: string): KnownDataset | undefined;
  /** @throws DomainError with the kind of the refusal. */
  get(caller: Caller, id: string): Promise<TileToken>;
  /** Expiry is checked first, then the signature against every key of the ring. */
  verify(token: { sig: string; exp: number; scope: string }): TileTokenVerdict;
}

export interface TileTokensOptions {
  readonly datasets: DatasetCache;
  readonly keyRing: SigningKeyRing;
  readonly lifetime: TokenLifetime;
  readonly clock: Clock;
}

const REFUSALS: Record<TileTokenRefusal["code"], TileTokenRefusal> = {
  not_found: { kind: "error", code: "not_found", message: "Dataset not found" },
  permission_denied: { kind: "error", code: "permission_denied", message: "You may not see this dataset" },
  unauthenticated: { kind: "error", code: "unauthenticated", message: "Sign in to see this dataset" },
  unavailable: {
    kind: "error",
    code: "unavailable",
    message: "Dataset metadata can't be read now, try again",
  },
};

/** Why there is no token. */
export const refusalOf = (denial: Denial): TileTokenRefusal => REFUSALS[denial];

export function createTileTokens({ datasets, keyRing, lifetime, clock }: TileTokensOptions): TileTokens {
  // A token is the same for everybody within a second, and its signature within a window. Kept beside the dataset that
  // it was made of: a changed one is another object.
  const minted = new WeakMap<Dataset, TileToken>();

  function mint(dataset: Dataset, now: number, exp: number): TileToken {
    const known = minted.get(dataset);
    if (known?.exp === exp && known.expiresIn === exp - now) return known;
    const { scope } = dataset;
    const sig = known?.exp === exp ? known.sig : keyRing.sign(scope, exp);
    const token = toToken(dataset, { sig, exp, scope, expiresIn: exp - now });
    minted.set(dataset, token);
    return token;
  }

  const find = (caller: Caller, ids: readonly string[]) =>
    datasets.lookUp(ids, (dataset) => mayKnowOf(dataset, caller));

  /** Decides on datasets at one moment. */
  function decider(caller: Caller) {
    const now = unixSeconds(clock());
    const exp = expiryAt(now, lifetime);
    return (dataset: Dataset | null | undefined): TileToken | TileTokenRefusal => {
      if (dataset === null) return REFUSALS.unavailable;
      if (dataset === undefined) return REFUSALS.not_found;
      const decision = decideAccess(dataset, caller);
      return decision === "granted" ? mint(dataset, now, exp) : REFUSALS[decision];
    };
  }

  return {
    async batch(caller, ids) {
      const found = await find(caller, ids);
      const decide = decider(caller);
      const outcomes = new Map<string, TileToken | TileTokenRefusal>();
      for (const id of ids) outcomes.set(id, decide(found.get(id)));
      return outcomes;
    },
    peek(id) {
      const dataset = datasets.known(id);
      if (dataset === undefined) return undefined;
      const now = unixSeconds(clock());
      return { dataset, token: () => mint(dataset, now, expiryAt(now, lifetime)) };
    },
    async get(caller, id) {
      const token = decider(caller)((await find(caller, [id])).get(id));
      if (token.kind !== "error") return token;
      throw new DomainError(token.code, `DATASET_${token.code.toUpperCase()}`, token.message, {
        retryAfterSeconds: token.code === "unavailable" ? 1 : undefined,
      });
    },
    verify({ sig, exp, scope }) {
      const now = unixSeconds(clock());
      if (exp <= now) return { valid: false, reason: "expired" };
      if (!keyRing.verifies(scope, exp, sig)) return { valid: false, reason: "signature" };
      return { valid: true, expiresIn: exp - now };
    },
  };
}

function toToken(dataset: Dataset, signed: SignedScope): TileToken {
  if (dataset.kind === "vector") return { kind: "vector", ...signed };
  const { tileUrlTemplate: _, ...shown } = dataset.raster;
  return { kind: "raster", ...signed, tileUrl: signTileUrl(dataset, signed), ...shown };
}

function signTileUrl(dataset: Dataset, { sig, exp, scope }: SignedScope): string {
  const template = dataset.raster.tileUrlTemplate ?? `/raster-tiles/${dataset.id}/tiles/{z}/{x}/{y}.png`;
  const query = `sig=${sig}&exp=${exp}&scope=${encodeURIComponent(scope)}&v=${dataset.cacheVersion}`;
  return `${template}${template.includes("?") ? "&" : "?"}${query}`;
}
