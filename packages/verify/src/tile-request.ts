/** What a tile token signs, and its signature. */
export interface SignedScope {
  /** Lower-case hex: 64 digits (HMAC-SHA256) or 128 (Ed25519). */
  readonly sig: string;
  /** Unix seconds. */
  readonly exp: number;
  readonly scope: string;
}

/** A tile request's own credentials. */
export interface TileRequest {
  /** As it was received: nothing is decoded or normalised. */
  readonly path: string;
  readonly token?: SignedScope | undefined;
  readonly key?: string | undefined;
}

const MAX_PARAMETERS = 64;

/** The last second that fits 32 bits: every proxy's integers hold it. */
const MAX_EXP = 0xffffffff;

/** Origin form, of at most 8 KiB: a path, and perhaps a query, of visible ASCII without `#`. Some servers take `;` for `&`. */
const TARGET = /^(?!.{8193})(\/[!"$->@-~]*)(\?([!"$-:<-~]*))?$/;

/** The parameters that are read, in their only forms. `:` and `$` are escaped by whoever escapes components. */
const OURS =
  /^(?=(\w+)=(.+))(sig=([\da-f]{64}){1,2}|exp=(0|[1-9]\d{0,9})|scope=([\w.~$:-]|%3[Aa]|%24){1,200}|key=.{1,256})$/;

/** Nobody reads one of ours in it: their names in another case, as lists' and after spaces, escaped ones. */
const OTHERS = /^(?!(sig|exp|scope|key)(?![\w.~-]))[^%+=]*(=|$)/i;

/**
 * Reads a request target in origin form, as it was received. Parameters other than `sig`, `exp`, `scope` and `key` pass unread.
 * Undefined where two servers could read it differently: one of the four twice, in another case or form, a token without
 * one of its parts, an escaped name, `;`, `#`, anything but visible ASCII; and beyond 8 KiB or 64 parameters. Never throws.
 */
export const readTileRequest = (target: string): TileRequest | undefined => {
  const [, path, , query = ""] = TARGET.exec(target) ?? [];
  const parameters = query.split("&", MAX_PARAMETERS + 1);
  if (!path || parameters.length > MAX_PARAMETERS) return undefined;
  const found: Partial<Record<string, string>> = {};
  for (const parameter of parameters) {
    const [, name, value] = OURS.exec(parameter) ?? [];
    if (name ? found[name] : !OTHERS.test(parameter)) return undefined;
    if (name) found[name] = value;
  }
  const { sig, exp, scope, key } = found;
  const token =
    sig && exp && scope && +exp <= MAX_EXP ? { sig, exp: +exp, scope: decodeURIComponent(scope) } : undefined;
  return !token === !(sig || exp || scope) ? { path, key, token } : undefined;
};
