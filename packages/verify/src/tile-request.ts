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

const MAX_LENGTH = 8192;
const MAX_PARAMETERS = 64;

/** Origin form: a path, and what follows it, of visible ASCII without `#`. */
const TARGET = /^\/[!"$-~]*$/;

/** The parameters that are read, in the only forms that are. */
const FORMS: ReadonlyMap<string, RegExp> = new Map([
  ["sig", /^(?:[0-9a-f]{64}){1,2}$/],
  ["exp", /^(?:0|[1-9]\d{0,9})$/],
  // `:` and `$` are escaped by whoever escapes components.
  ["scope", /^(?:[\w.~$:-]|%3A|%3a|%24){1,200}$/],
  ["key", /^[!-:<-~]{1,256}$/],
]);

/** The last second that fits 32 bits: every proxy's integers hold it. */
const MAX_EXP = 0xffffffff;

/**
 * What some server would read as one of the four: in another case, escaped, as a list, after spaces, or after a `;`, which some
 * take for `&`.
 */
const ALIKE = /(?:^|;)[^\w.~;-]*(?:sig|exp|scope|key)(?![\w.~-])/i;

/** A semicolon that is escaped separates nothing. */
const unescaped = (text: string) =>
  text.replace(/%(?!3b)([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));

/**
 * Reads a request target in origin form, as it was received. Parameters other than `sig`, `exp`, `scope` and `key` pass unread.
 * Undefined where two servers could read it differently: one of the four twice, in another case or form, a token without
 * one of its parts, `#`, anything but visible ASCII; and beyond 8 KiB or 64 parameters. Never throws.
 */
export function readTileRequest(target: string): TileRequest | undefined {
  if (target.length > MAX_LENGTH || !TARGET.test(target)) return undefined;
  const [path, query] = cut(target, "?");
  const parameters = query.split("&", MAX_PARAMETERS + 1);
  if (parameters.length > MAX_PARAMETERS) return undefined;
  const found = new Map<string, string>();
  for (const parameter of parameters) {
    const [name, value] = cut(parameter, "=");
    const form = FORMS.get(name);
    if (form ? found.has(name) || !form.test(value) : ALIKE.test(unescaped(parameter))) return undefined;
    if (form) found.set(name, value);
  }
  const [sig, exp, scope, key] = ["sig", "exp", "scope", "key"].map((name) => found.get(name));
  if (!sig && !exp && !scope) return { path, key };
  if (!sig || !exp || !scope || Number(exp) > MAX_EXP) return undefined;
  return { path, key, token: { sig, exp: Number(exp), scope: unescaped(scope) } };
}

/** What stands before the first separator, and after it. */
function cut(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
