import type { Credentials } from "../domain/authentication/authenticator.js";
import type { HeaderList } from "../server/http-handler.js";

/** No header can have it, so that no two values together look like one. */
const BETWEEN = "\0";

const joined = (before: string, value: string): string => before + BETWEEN + value;

/** What browsers send in place of an origin that they don't tell. */
const untold = (): string => "null";

/**
 * Everything that says who calls, and the only place where it is read. Node.js takes the first of several `Authorization`, `Referer`
 * or `User-Agent` headers, another program before it perhaps the last: so none is picked. Several credentials make one that nothing
 * can equal, and several origins are an unknown one.
 */
const FIELDS = [
  { header: "authorization", ofSeveral: joined, isCredential: true },
  { header: "x-api-key", ofSeveral: joined, isCredential: true },
  { header: "origin", ofSeveral: untold, isCredential: false },
  { header: "referer", ofSeveral: untold, isCredential: false },
  { header: "user-agent", ofSeveral: joined, isCredential: false },
  // The client's address, which the connection tells or a proxy. Asked for only beside an API key, which may be locked to it.
  { header: undefined, ofSeveral: joined, isCredential: false },
] as const;

type Header = (typeof FIELDS)[number]["header"];

const at = (header: Header): number => FIELDS.findIndex((field) => field.header === header);

const NO_VALUES: readonly undefined[] = FIELDS.map(() => undefined);

const AUTHORIZATION = at("authorization");
const API_KEY = at("x-api-key");
const ORIGIN = at("origin");
const REFERER = at("referer");
const USER_AGENT = at("user-agent");
const CLIENT_IP = at(undefined);

/** Their lengths all differ, and tell most other headers apart already. One as long as another would never be read. */
const INDEX_BY_LENGTH: readonly (number | undefined)[] = Array.from({ length: 32 }, (_, length) => {
  const index = FIELDS.findIndex(({ header }) => header?.length === length);
  return index === -1 ? undefined : index;
});

const HEADERS = FIELDS.flatMap(({ header }) => header ?? []);

if (INDEX_BY_LENGTH.filter((index) => index !== undefined).length !== HEADERS.length) {
  throw new Error("two headers of credentials are equally long");
}

/** The credentials of one request, and what they are found by. */
export interface SentCredentials extends Credentials {
  /** The same text for the same fields only: each is told with its length, and an absent one is no text, not even an empty one. */
  readonly key: string;
  /** Whether they are nobody's: no credential was sent. */
  readonly isAnonymous: boolean;
}

/**
 * @param query Where its `key` counts like an `X-Api-Key`.
 * @param clientIp The client's address, in the form of `canonicalIp`; undefined if that can't be told.
 */
export function readCredentials(
  { rawHeaders }: { readonly rawHeaders: HeaderList },
  query: URLSearchParams,
  clientIp: () => string | undefined,
): SentCredentials {
  const values: (string | undefined)[] = NO_VALUES.slice();
  for (let line = 0; line < rawHeaders.length; line += 2) {
    const name = rawHeaders[line] ?? "";
    const index = INDEX_BY_LENGTH[name.length];
    if (index === undefined || !isNamed(name, FIELDS[index]?.header)) continue;
    add(values, index, rawHeaders[line + 1] ?? "");
  }
  // The same key in the header and the URL is one key.
  for (const key of query.getAll("key")) if (key !== values[API_KEY]) add(values, API_KEY, key);
  if (values[API_KEY] !== undefined) values[CLIENT_IP] = clientIp();

  let key = "";
  let isAnonymous = true;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index];
    key += value === undefined ? "-" : `${value.length}:${value}`;
    if (value !== undefined && FIELDS[index]?.isCredential) isAnonymous = false;
  }
  return {
    authorization: values[AUTHORIZATION],
    apiKey: values[API_KEY],
    source: {
      origin: values[ORIGIN],
      referer: values[REFERER],
      userAgent: values[USER_AGENT],
      clientIp: values[CLIENT_IP],
    },
    key,
    isAnonymous,
  };
}

function add(values: (string | undefined)[], index: number, value: string): void {
  const before = values[index];
  values[index] = before === undefined ? value : FIELDS[index]?.ofSeveral(before, value);
}

/** In any letter case, as RFC 9110 has it. */
const isNamed = (given: string, name: string | undefined): boolean =>
  given === name || given.toLowerCase() === name;
