import { compileTilePaths, type NamedTiles, opens } from "#tile-paths";
import { readTileRequest } from "#tile-request";
import { decideAccess, isOpen, mayKnowOf } from "../access/access.js";
import { ApiKeyRefusedError } from "../authentication/authenticator.js";
import type { Clock } from "../clock.js";
import type { Dataset, DatasetCache, ScopeCache } from "../datasets/dataset.js";
import { DomainError, unavailable } from "../errors.js";
import type { Caller, Principal } from "../identity/principal.js";
import { createSecondMemo, type SecondMemoOptions } from "../second-memo.js";
import { bytesOfTexts } from "../text-bytes.js";
import type {
  InvalidTileToken,
  SentTileToken,
  TileTokens,
  TileTokenVerdict,
  ValidTileToken,
} from "../tile-tokens/tile-tokens.js";

export type TilesVerdict = GrantedTiles | RefusedTiles;

export interface GrantedTiles {
  readonly granted: true;
  /** What opened them: a token, or somebody whom a credential stands for. */
  readonly opener: "token" | Principal["type"];
  /** Of what was opened; of composite tiles, with commas between them. */
  readonly scope: string;
  /** Whose the dataset is. Absent: a token's that no dataset of this installation has. */
  readonly accountId?: string | undefined;
  /** The key that opened it. */
  readonly apiKeyId?: string | undefined;
  /** Whether everybody may see it. */
  readonly isPublic: boolean;
  /** Whole seconds until the token expires. Absent: no token. */
  readonly expiresIn?: number | undefined;
}

/** Why a request for tiles is refused. */
export type TilesRefusal =
  /** No credential. */
  | "missing"
  /** The URI, or a credential in it, can be read in two ways or in none. */
  | "malformed"
  /** The path is of no tiles. */
  | "path"
  /** The tile token; those of deleted datasets are revoked. */
  | InvalidTileToken["reason"]
  /** The token opens other tiles than these. */
  | "scope"
  /** A credential that doesn't resolve: which it is, and why, is its managers' to know. */
  | "key"
  /** The API key's restrictions. */
  | "origin"
  | "user_agent"
  | "ip"
  | "rate_limited"
  /** Whoever calls may not see the dataset, or there is none: that looks the same. */
  | "dataset"
  /** It can't be told now. */
  | "unavailable";

export interface RefusedTiles {
  readonly granted: false;
  readonly reason: TilesRefusal;
  /** For people, and public. */
  readonly detail: string;
  /** Where waiting helps. */
  readonly retryAfterSeconds?: number | undefined;
  /** What really happened. For the log. */
  readonly cause?: unknown;
}

/** A request for tiles that can be decided on. */
export interface TilesAsked {
  readonly tiles: NamedTiles;
  readonly token?: SentTileToken | undefined;
  /** The API key in its URI: one of its credentials. */
  readonly key?: string | undefined;
}

/** Whether a request for tiles may have them: the rule of forward auth and of Envoy's ext_authz, and the only place where it stands. */
export interface TileRequests {
  /** @param target The path and query of the tile's request, as it was received. */
  read(target: string): TilesAsked | RefusedTiles;
  /**
   * By the token, if there is one, which opens one dataset's tiles and never composite ones; else by who calls, who must be
   * allowed to see every one of the datasets. Comes at once when all is known, by promise otherwise. Whatever fails that has a reason is
   * a refusal.
   * @param caller Who calls: only asked for without a token.
   * @param beforeWaiting Is called before anything is waited for. What it throws refuses.
   */
  decide(
    asked: TilesAsked,
    caller: () => Caller | Promise<Caller>,
    beforeWaiting: (caller: Caller) => void,
  ): TilesVerdict | Promise<TilesVerdict>;
}

export interface TileRequestsOptions extends Pick<SecondMemoOptions, "generation"> {
  readonly clock: Clock;
  readonly tileTokens: Pick<TileTokens, "verify">;
  readonly datasets: DatasetCache;
  readonly scopes: ScopeCache;
  /** Presets and templates: which tiles a path is of. */
  readonly tilePaths: readonly string[];
}

const refused = (reason: TilesRefusal, detail: string): RefusedTiles => ({ granted: false, reason, detail });

const MISSING = refused("missing", "a tile token or an API key is required");
const MALFORMED = refused("malformed", "the URI, or a credential in it, is malformed");
const NO_TILES = refused("path", "the path is of no tiles");
const OTHER_TILES = refused("scope", "the tile token opens other tiles");
const NOT_THEIRS = refused("dataset", "the credential does not open these tiles");

const OF_TOKENS: Readonly<Record<InvalidTileToken["reason"], RefusedTiles>> = {
  expired: refused("expired", "the tile token has expired"),
  signature: refused("signature", "the tile token was not signed here"),
  revoked: refused("revoked", "the tile token is revoked"),
};

/** So many layers' tokens of one second, and what is kept of each but for its text: the entry, the grant and how it travels. */
const MAX_GRANTS = 5_000;
const MAX_BYTES = 4 * 1024 * 1024;
const GRANT_BYTES = 1_000;

/** No dataset has it: looked up in the place of one that there isn't, which so takes as long as one that must not show. */
const NOBODYS_ID = "00000000-0000-0000-0000-000000000000";

export function createTileRequests(options: TileRequestsOptions): TileRequests {
  const { tileTokens, datasets, scopes, generation, clock } = options;
  const tilesOf = compileTilePaths(options.tilePaths);

  // A layer's tiles come with the same token: it is verified once a second.
  const grantsAt = createSecondMemo<string, GrantedTiles>({
    generation,
    maxEntries: MAX_GRANTS,
    maxBytes: MAX_BYTES,
    sizeOf: (key) => GRANT_BYTES + bytesOfTexts([key], 1),
  });

  function byToken(
    tiles: NamedTiles,
    token: SentTileToken,
    beforeWaiting: (caller: Caller) => void,
  ): TilesVerdict | Promise<TilesVerdict> {
    const { sig, exp, scope } = token;
    const grants = grantsAt(clock());
    const key = `${sig}:${exp}:${scope}`;
    const judge = (grant: GrantedTiles): TilesVerdict => (opens(scope, tiles) ? grant : OTHER_TILES);
    const known = grants.get(key);
    if (known !== undefined) return judge(known);
    const judged = (verdict: TileTokenVerdict): TilesVerdict => {
      if (!verdict.valid) return OF_TOKENS[verdict.reason];
      const grant = grantOf(scope, verdict);
      // Of what was waited for, it isn't known whether it is still so.
      if (!(pending instanceof Promise)) grants.set(key, grant);
      return judge(grant);
    };
    const pending = tileTokens.verify(token, () => beforeWaiting([]));
    return andThen(pending, judged);
  }

  function byCaller(
    tiles: NamedTiles,
    caller: Caller,
    beforeWaiting: (caller: Caller) => void,
  ): TilesVerdict | Promise<TilesVerdict> {
    if (caller.length === 0) return MISSING;
    const known = tiles.names.map((name) => find(tiles, name));
    if (known.every((dataset) => dataset !== undefined && mayKnowOf(dataset, caller))) {
      return decide(tiles, known, caller);
    }
    beforeWaiting(caller);
    const lookUps = tiles.names.map((name) => lookUp(tiles, name, caller));
    return Promise.all(lookUps).then((found) => decide(tiles, found, caller));
  }

  /** At once. Undefined: it must be looked up. */
  function find({ kind, account }: NamedTiles, name: string): Dataset | undefined {
    const id = kind === "dataset" ? name : scopes.known(scopeOf(name, account));
    return id === undefined ? undefined : datasets.known(id);
  }

  /** Undefined: there is no such dataset, or `caller` may not know of it. */
  async function lookUp({ kind, account }: NamedTiles, name: string, caller: Caller) {
    const id = (kind === "dataset" ? name : await scopes.lookUp(scopeOf(name, account))) ?? NOBODYS_ID;
    const dataset = (await datasets.lookUp([id], (found) => mayKnowOf(found, caller))).get(id);
    if (dataset === null) throw unavailable("the database", new Error("a dataset can't be looked up"));
    return dataset;
  }

  return {
    read(target) {
      const asked = readTileRequest(target);
      if (asked === undefined) return MALFORMED;
      const tiles = tilesOf(asked.path);
      return tiles === undefined ? NO_TILES : { tiles, token: asked.token, key: asked.key };
    },

    decide({ tiles, token }, caller, beforeWaiting) {
      try {
        const pending =
          token === undefined
            ? andThen(caller(), (who) => byCaller(tiles, who, beforeWaiting))
            : byToken(tiles, token, beforeWaiting);
        return pending instanceof Promise ? pending.catch(toRefusal) : pending;
      } catch (error) {
        return toRefusal(error);
      }
    },
  };
}

function grantOf(scope: string, { dataset, expiresIn }: ValidTileToken): GrantedTiles {
  const isPublic = dataset !== undefined && isOpen(dataset);
  return { granted: true, opener: "token", scope, accountId: dataset?.accountId, isPublic, expiresIn };
}

const andThen = <T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> =>
  value instanceof Promise ? value.then(next) : next(value);

const scopeOf = (name: string, account: string | undefined): string =>
  account === undefined ? name : `${account}:${name}`;

function decide(
  { account }: NamedTiles,
  found: readonly (Dataset | undefined)[],
  caller: Caller,
): TilesVerdict {
  const seen = found.filter((dataset) => dataset !== undefined);
  const [first] = seen;
  const areTheirs =
    seen.length === found.length &&
    seen.every((dataset) => account === undefined || dataset.accountId === account) &&
    seen.every((dataset) => decideAccess(dataset, caller) === "granted");
  // Of several credentials the one that opens it.
  const opener = first && caller.find((principal) => decideAccess(first, [principal]) === "granted");
  if (!areTheirs || opener === undefined) return NOT_THEIRS;
  return {
    granted: true,
    opener: opener.type,
    scope: seen.map(({ scope }) => scope).join(","),
    accountId: first?.accountId,
    apiKeyId: opener.type === "api_key" ? opener.apiKeyId : undefined,
    isPublic: seen.every(isOpen),
  };
}

/** @throws what is a defect. */
function toRefusal(error: unknown): RefusedTiles {
  if (!(error instanceof DomainError)) throw error;
  const { kind, message, retryAfterSeconds, cause } = error;
  if (error instanceof ApiKeyRefusedError) return refused(ofKey(error), message);
  if (kind === "unauthenticated") return refused("key", message);
  const reason = error.reason === "API_KEY_RATE_LIMITED" ? "rate_limited" : "unavailable";
  return { ...refused(reason, message), retryAfterSeconds, cause };
}

/** Whether there is such a key at all, only its managers may know. */
const ofKey = ({ refusal }: ApiKeyRefusedError): TilesRefusal =>
  refusal === "origin" || refusal === "user_agent" || refusal === "ip" ? refusal : "key";
