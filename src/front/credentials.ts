import type { Credentials } from "../domain/authentication/authenticator.js";
import type { HttpRequest } from "../server/http-handler.js";

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
export function readCredentials({ rawHeaders }: HttpRequest, query?: URLSearchParams): Credentials {
  let authorization: string | undefined;
  let apiKey: string | undefined;
  let origin: string | undefined;
  let referer: string | undefined;
  let userAgent: string | undefined;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    const value = rawHeaders[index + 1] ?? "";
    // Their lengths all differ, and tell most other headers apart already.
    switch (name.length) {
      case 13:
        if (isNamed(name, "authorization")) authorization = joined(authorization, value);
        break;
      case 9:
        if (isNamed(name, "x-api-key")) apiKey = joined(apiKey, value);
        break;
      case 6:
        if (isNamed(name, "origin")) origin = origin === undefined ? value : UNTOLD;
        break;
      case 7:
        if (isNamed(name, "referer")) referer = referer === undefined ? value : UNTOLD;
        break;
      case 10:
        if (isNamed(name, "user-agent")) userAgent = joined(userAgent, value);
        break;
    }
  }
  // The same key in the header and the URL is one key.
  for (const key of query?.getAll("key") ?? []) if (key !== apiKey) apiKey = joined(apiKey, key);
  return { authorization, apiKey, source: { origin, referer, userAgent } };
}

/** In any letter case, as RFC 9110 has it. */
const isNamed = (given: string, name: string): boolean => given === name || given.toLowerCase() === name;

const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : before + BETWEEN + value;

/** Whether they are nobody's: no credential was sent. */
export const isAnonymous = ({ authorization, apiKey }: Credentials): boolean =>
  authorization === undefined && apiKey === undefined;

/** The same text for the same credentials only: each is told with its length, and an absent one is no text, not even an empty one. */
export const keyOf = ({ authorization, apiKey, source }: Credentials): string =>
  part(authorization) + part(apiKey) + part(source.origin) + part(source.referer) + part(source.userAgent);

const part = (text: string | undefined): string => (text === undefined ? "-" : `${text.length}:${text}`);
