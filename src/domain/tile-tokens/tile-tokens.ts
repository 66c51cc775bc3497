import { type Denial, decideAccess, isOpen, mayKnowOf, type ProtectedDataset } from "../access/access.js";
import { createAttachment } from "../attachment.js";
import { type Clock, unixSeconds } from "../clock.js";
import type { Bounds, Dataset, DatasetCache, ScopeCache } from "../datasets/dataset.js";
import { bytesOfDataset } from "../datasets/dataset-bytes.js";
import { DomainError, type ErrorReason, unavailable } from "../errors.js";
import type { Caller } from "../identity/principal.js";
import { createSecondMemo, type SecondMemo, type SecondMemoOptions } from "../second-memo.js";
import type { SigningKeyRing } from "./key-ring.js";
import { expiryAt, type TokenLifetime } from "./lifetime.js";
import { rasterTemplateOf, signedQuery, withQuery } from "./tile-url.js";

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

/** What a caller gets for a dataset. Of one dataset it is the same object for everybody who gets a token in one second. */
export type TileTokenOutcome = TileToken | TileTokenRefusal;

export interface Audience {
  /** Whether everybody gets the same answer, in this second and as long as nothing changes. */
  readonly isForEverybody: boolean;
  /** Whether it is a token for each dataset, which everybody may have. Told also where something may have changed meanwhile. */
  readonly isPublic: boolean;
}

export interface TileTokenBatch extends Audience {
  /** Each id that was asked for, once. */
  readonly ids: readonly string[];
  /** In the order of `ids`. */
  readonly outcomes: readonly TileTokenOutcome[];
}

export interface SingleTileToken extends Audience {
  readonly token: TileToken;
}

export type TileTokenVerdict = ValidTileToken | InvalidTileToken;

export interface ValidTileToken {
  readonly valid: true;
  /** Whole seconds. */
  readonly expiresIn: number;
  /** What it opens. Absent: no dataset of this installation, but of another that signs with the same key. */
  readonly dataset?: Dataset | undefined;
}

export interface InvalidTileToken {
  readonly valid: false;
  /** The first of these that is so. Those of deleted datasets are revoked. */
  readonly reason: "expired" | "signature" | "revoked";
}

/** A tile token as it stands in a URL. */
export interface SentTileToken {
  readonly sig: string;
  /** Unix seconds. */
  readonly exp: number;
  readonly scope: string;
}

/** Is called before anything is waited for. What it throws refuses the call. */
export type BeforeWaiting = () => void;

/** Ids must be canonical. Answers come at once when all is known, by promise otherwise. */
export interface TileTokens {
  /** Never fails for the sake of a dataset. */
  batch(
    caller: Caller,
    ids: readonly string[],
    beforeWaiting?: BeforeWaiting,
  ): TileTokenBatch | Promise<TileTokenBatch>;
  /** @throws DomainError with the kind of the refusal, by promise too. */
  get(caller: Caller, id: string, beforeWaiting?: BeforeWaiting): SingleTileToken | Promise<SingleTileToken>;
  /**
   * Expiry is checked first, then the signature against every key of the ring, and only for who could sign, what was revoked.
   * @throws DomainError unavailable, by promise, when that can't be told now.
   */
  verify(token: SentTileToken, beforeWaiting?: BeforeWaiting): TileTokenVerdict | Promise<TileTokenVerdict>;
}

export interface TileTokensOptions extends Pick<SecondMemoOptions, "generation"> {
  readonly datasets: DatasetCache;
  readonly scopes: ScopeCache;
  /** Its generation counts in `generation`. */
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

const REASONS: Record<TileTokenRefusal["code"], ErrorReason> = {
  not_found: "DATASET_NOT_FOUND",
  permission_denied: "DATASET_PERMISSION_DENIED",
  unauthenticated: "DATASET_UNAUTHENTICATED",
  unavailable: "DATASET_UNAVAILABLE",
};

/** As many usual datasets as the cache keeps; those that have left it since are held for this second only. */
const MAX_DATASETS = 5_000;
const MAX_BYTES = 16 * 1024 * 1024;

/** A dataset in this second. */
interface Known {
  readonly dataset: Dataset;
  readonly isOpen: boolean;
  /** Absent until somebody asks who may have it. */
  token: TileToken | undefined;
  /** The last batch that asked for it: a second time in the same one is told apart by that, for less than a set costs. */
  batch: number;
}

/** What is decided on in the place of what isn't there: it takes its time, and only the operator may know of it. */
const DECOY: ProtectedDataset = {
  id: "",
  accountId: "",
  visibility: "public",
  status: "draft",
  owner: undefined,
  readerRoles: [],
  readerSubjects: [],
};

export function createTileTokens(options: TileTokensOptions): TileTokens {
  const { datasets, scopes, keyRing, lifetime, clock, generation } = options;
  // A signature is the same within a window. Kept beside the dataset that it was made of: a changed one is another object. Those of
  // another ring's keys are left behind.
  let minted = createAttachment<Dataset, TileToken>();
  let ring = keyRing.generation();
  const knownAt = createSecondMemo<string, Known>({
    generation,
    maxEntries: MAX_DATASETS,
    maxBytes: MAX_BYTES,
    sizeOf: (_id, { dataset }) => bytesOfDataset(dataset),
  });
  let batches = 0;

  function mint(dataset: Dataset, now: number): TileToken {
    if (ring !== keyRing.generation()) {
      ring = keyRing.generation();
      minted = createAttachment();
    }
    const exp = expiryAt(now, lifetime, dataset.revokedUntilExp);
    const known = minted.of(dataset);
    if (known?.exp === exp && known.expiresIn === exp - now) return known;
    const { scope } = dataset;
    const sig = known?.exp === exp ? known.sig : keyRing.sign(scope, exp);
    const token = toToken(dataset, { sig, exp, scope, expiresIn: exp - now });
    minted.attach(dataset, token);
    return token;
  }

  /** The only place where an access decision becomes a token. */
  function outcomeFor(caller: Caller, known: Known, now: Date): TileTokenOutcome {
    const decision = known.isOpen ? "granted" : decideAccess(known.dataset, caller);
    if (decision !== "granted") return REFUSALS[decision];
    known.token ??= mint(known.dataset, unixSeconds(now));
    return known.token;
  }

  const toKnown = (dataset: Dataset): Known => ({
    dataset,
    isOpen: isOpen(dataset),
    token: undefined,
    batch: 0,
  });

  /** Undefined: it must be looked up. */
  function find(memo: SecondMemo<string, Known>, id: string): Known | undefined {
    const known = memo.get(id);
    if (known !== undefined) return known;
    const dataset = datasets.known(id);
    if (dataset === undefined) return undefined;
    memo.set(id, toKnown(dataset));
    // Undefined when there is no room for it.
    return memo.get(id);
  }

  /** Undefined if anything is unknown, asked for twice, or not to be known of: that must take as long as what isn't there. */
  function batchNow(caller: Caller, ids: readonly string[]): TileTokenBatch | undefined {
    const now = clock();
    const memo = knownAt(now);
    const outcomes: TileTokenOutcome[] = [];
    let isForEverybody = true;
    batches += 1;
    for (const id of ids) {
      const known = find(memo, id);
      if (known === undefined) {
        decideAccess(DECOY, caller);
        return undefined;
      }
      if (known.batch === batches) return undefined;
      known.batch = batches;
      isForEverybody &&= known.isOpen;
      const outcome = outcomeFor(caller, known, now);
      if (outcome === REFUSALS.not_found) return undefined;
      outcomes.push(outcome);
    }
    return { ids, outcomes, isForEverybody, isPublic: isForEverybody };
  }

  async function lookUp(caller: Caller, ids: readonly string[]): Promise<TileTokenBatch> {
    const found = await datasets.lookUp(ids, (dataset) => mayKnowOf(dataset, caller));
    const now = clock();
    const distinct = [...new Set(ids)];
    const outcomes = distinct.map((id) => {
      const dataset = found.get(id);
      if (dataset === null) return REFUSALS.unavailable;
      return dataset === undefined ? REFUSALS.not_found : outcomeFor(caller, toKnown(dataset), now);
    });
    const isPublic = distinct.every((id) => isOpenIfThere(found.get(id)));
    return { ids: distinct, outcomes, isForEverybody: false, isPublic };
  }

  function batch(caller: Caller, ids: readonly string[], beforeWaiting?: BeforeWaiting) {
    const atOnce = batchNow(caller, ids);
    if (atOnce !== undefined) return atOnce;
    beforeWaiting?.();
    return lookUp(caller, ids);
  }

  return {
    batch,
    get(caller, id, beforeWaiting) {
      const answer = batch(caller, [id], beforeWaiting);
      return answer instanceof Promise ? answer.then(onlyToken) : onlyToken(answer);
    },
    verify({ sig, exp, scope }, beforeWaiting) {
      const now = unixSeconds(clock());
      if (exp <= now) return { valid: false, reason: "expired" };
      if (!keyRing.verifies(scope, exp, sig)) return { valid: false, reason: "signature" };
      const expiresIn = exp - now;
      const id = scopes.known(scope);
      const dataset = id === undefined ? undefined : datasets.known(id);
      if (dataset !== undefined) return standing(dataset, exp, expiresIn);
      beforeWaiting?.();
      return findOwner(scope).then((owner) =>
        owner === undefined ? { valid: true, expiresIn } : standing(owner, exp, expiresIn),
      );
    },
  };

  /** @returns Whose scope it is; undefined if it is nobody's. */
  async function findOwner(scope: string): Promise<Dataset | "deleted" | undefined> {
    const id = await scopes.lookUp(scope);
    if (id === undefined) return undefined;
    const dataset = (await datasets.lookUp([id], () => true)).get(id);
    if (dataset === null)
      throw unavailable("the database", new Error("the scope's dataset can't be looked up"));
    return dataset ?? "deleted";
  }
}

function standing(dataset: Dataset | "deleted", exp: number, expiresIn: number): TileTokenVerdict {
  if (dataset === "deleted" || exp <= (dataset.revokedUntilExp ?? 0)) {
    return { valid: false, reason: "revoked" };
  }
  return { valid: true, expiresIn, dataset };
}

/** Not of one that isn't, or of which nothing can be told. */
const isOpenIfThere = (dataset: Dataset | null | undefined): boolean => Boolean(dataset && isOpen(dataset));

function onlyToken({ outcomes, ...audience }: TileTokenBatch): SingleTileToken {
  const [token = REFUSALS.not_found] = outcomes;
  if (token.kind !== "error") return { token, ...audience };
  throw new DomainError(token.code, REASONS[token.code], token.message, {
    retryAfterSeconds: token.code === "unavailable" ? 1 : undefined,
  });
}

function toToken(dataset: Dataset, signed: SignedScope): TileToken {
  if (dataset.kind === "vector") return { kind: "vector", ...signed };
  const { tileUrlTemplate: _, ...shown } = dataset.raster;
  return { kind: "raster", ...signed, tileUrl: signTileUrl(dataset, signed), ...shown };
}

const signTileUrl = (dataset: Dataset, signed: SignedScope): string =>
  withQuery(rasterTemplateOf(dataset), `${signedQuery(signed)}&v=${dataset.cacheVersion}`);
