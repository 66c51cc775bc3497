import type { Credentials } from "../domain/identity/authenticator.js";
import type { HttpRequest } from "../server/http-handler.js";

/** The headers that decide who calls, and from where, as RFC 9110 has them: their names in any letter case. */
const READ = ["authorization", "x-api-key", "origin", "referer", "user-agent"] as const;

type Name = (typeof READ)[number];

/** By their lengths, which all differ: most of a request's headers are told apart by that alone. */
const BY_LENGTH = new Map<number, Name>(READ.map((name) => [name.length, name]));

/** No header can have it, so that no two values together look like one. */
const BETWEEN = "\0";

/** What browsers send in place of an origin that they don't tell. */
const UNTOLD = "null";

/**
 * The only reader of what says who calls. Node.js takes the first of several `Authorization`, `Referer` or `User-Agent`
 * headers, another program before it perhaps the last: so none is picked. Several credentials make one that nothing can
 * equal, and several origins are an unknown one.
 *
 * @param query Where its `key` counts like an `X-Api-Key`.
 */
export function readCredentials(request: HttpRequest, query?: URLSearchParams): Credentials {
  const found: Partial<Record<Name, string>> = {};
  let repeated: Set<Name> | undefined;
  const { rawHeaders } = request;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const given = rawHeaders[index] ?? "";
    const name = BY_LENGTH.get(given.length);
    if (name === undefined || (given !== name && given.toLowerCase() !== name)) continue;
    const value = rawHeaders[index + 1] ?? "";
    const before = found[name];
    if (before === undefined) {
      found[name] = value;
    } else {
      found[name] = before + BETWEEN + value;
      repeated ??= new Set();
      repeated.add(name);
    }
  }
  // The same key in the header and the URL is one key.
  const apiKeys = new Set([found["x-api-key"] ?? [], query?.getAll("key") ?? []].flat());
  return {
    authorization: found.authorization,
    apiKey: apiKeys.size === 0 ? undefined : [...apiKeys].join(BETWEEN),
    source: {
      origin: repeated?.has("origin") ? UNTOLD : found.origin,
      referer: repeated?.has("referer") ? UNTOLD : found.referer,
      userAgent: found["user-agent"],
    },
  };
}

/** Whether they are nobody's: no credential was sent. */
export const isAnonymous = ({ authorization, apiKey }: Credentials): boolean =>
  authorization === undefined && apiKey === undefined;

/** The same text for the same credentials only: an absent header is no text, not even an empty one. */
export const keyOf = ({ authorization, apiKey, source }: Credentials): string =>
  JSON.stringify([authorization, apiKey, source.origin, source.referer, source.userAgent]);
