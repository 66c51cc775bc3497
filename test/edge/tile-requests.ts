import { createHmac } from "node:crypto";

/** In Unix seconds. */
export const now = (): number => Math.floor(Date.now() / 1000);

/** A token's query, signed as the service signs it. */
export function signed(scope: string, exp: number, key: string): string {
  const sig = createHmac("sha256", key).update(`${scope}:${exp}`).digest("hex");
  return `sig=${sig}&exp=${exp}&scope=${scope}`;
}

/** The first dataset of the demo, and another one. */
export const TABLE = "ne_countries";
export const OTHER_TABLE = "ne_roads";

export const tilePath = (table: string, z = 2, x = 1, y = 3): string => `/data/${table}/${z}/${x}/${y}.pbf`;

/** What is refused, by what is wrong with it. */
export interface HostileRequest {
  readonly attack: string;
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Requests of whoever has a good token for TABLE and wants another tile, or has none that is good.
 * @param key That signs.
 */
export function hostileRequests(key: string): HostileRequest[] {
  const path = tilePath(TABLE);
  const exp = now() + 600;
  const good = signed(TABLE, exp, key);
  const [sig = ""] = good.split("&");
  const at = (attack: string, target: string): HostileRequest => ({ attack, target });
  const other = tilePath(OTHER_TABLE);
  return [
    at("an expired token", `${path}?${signed(TABLE, now(), key)}`),
    at("a longer life, written in by hand", `${path}?${good.replace(`exp=${exp}`, `exp=${exp + 900}`)}`),
    at(
      "one digit of the signature",
      `${path}?${good.replace(/sig=./, (head) => (head === "sig=0" ? "sig=1" : "sig=0"))}`,
    ),
    at("a signature in capitals", `${path}?${good.replace(sig, `sig=${sig.slice(4).toUpperCase()}`)}`),
    at("a signature cut short", `${path}?${good.replace(sig, sig.slice(0, -1))}`),
    at("an empty signature", `${path}?${good.replace(sig, "sig=")}`),
    at("a key that everybody knows: none", `${path}?${signed(TABLE, exp, "")}`),
    at("a key of somebody else", `${path}?${signed(TABLE, exp, "another-installation's-secret")}`),
    at("another table's token", `${path}?${signed(OTHER_TABLE, exp, key)}`),
    at("a token on another table's path", `${other}?${good}`),
    at("another tenant's token", `${path}?${signed(`other-account:${TABLE}`, exp, key)}`),
    at(
      "another tenant's token, percent-encoded",
      `${path}?${signed(`other-account:${TABLE}`, exp, key).replace("scope=other-account:", "scope=other-account%3A")}`,
    ),
    at("a part of a token", `${path}?${sig}`),
    at("an expiry with a sign", `${path}?${good.replace("exp=", "exp=%2B")}`),
    at("an expiry with a zero in front", `${path}?${good.replace("exp=", "exp=0")}`),
    at("an expiry that is not decimal", `${path}?${good.replace(`exp=${exp}`, `exp=0x${exp.toString(16)}`)}`),
    at("an expiry beyond all numbers", `${path}?${good.replace(`exp=${exp}`, `exp=${"9".repeat(40)}`)}`),
    ...["sig", "exp", "scope"].flatMap((name) => [
      at(`${name} twice, the good one last`, `${path}?${name}=x&${good}`),
      at(`${name} twice, the good one first`, `${path}?${good}&${name}=x`),
      at(`${name} twice, in two cases`, `${path}?${good}&${name.toUpperCase()}=x`),
      at(`${name} twice, once without a value`, `${path}?${good}&${name}`),
      at(`${name} in capitals`, `${path}?${good.replace(`${name}=`, `${name.toUpperCase()}=`)}`),
      at(
        `${name} percent-encoded`,
        `${path}?${good.replace(`${name}=`, `%${name.charCodeAt(0).toString(16)}${name.slice(1)}=`)}`,
      ),
      at(`${name} as a list`, `${path}?${good.replace(`${name}=`, `${name}[]=`)}`),
    ]),
    at("dot segments out of the granted table", `/data/${TABLE}/../${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("dot segments into the granted table", `/data/${OTHER_TABLE}/../${TABLE}/2/1/3.pbf?${good}`),
    at("dot segments behind the tile", `${path}/../../../../${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("a single dot", `/data/./${TABLE}/2/1/3.pbf?${good}`),
    at("encoded dot segments", `/data/${TABLE}/%2e%2e/${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("dot segments encoded in part", `/data/${TABLE}/.%2E/${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("dot segments encoded twice", `/data/${TABLE}/%252e%252e/${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("dot segments with parameters", `/data/${TABLE}/..;/${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("an encoded slash", `/data/${TABLE}%2f..%2f${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("an encoded letter", `/data/%6ee_countries/2/1/3.pbf?${good}`),
    at("a backslash", `/data/${TABLE}\\..\\${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("two slashes at the beginning", `/${path}?${good}`),
    at("two slashes within", `/data//${TABLE}/2/1/3.pbf?${good}`),
    at("a host in the path", `//${TABLE}${path}?${good}`),
    at("two tables, one granted", `/data/${TABLE},${OTHER_TABLE}/2/1/3.pbf?${good}`),
    at("the table in capitals", `/data/${TABLE.toUpperCase()}/2/1/3.pbf?${good}`),
    at("a NUL", `/data/${TABLE}%00/2/1/3.pbf?${good}`),
    at("a fragment that hides the query", `${other}#?${good}`),
    at("a fragment that hides the table", `${path}?${good}#/../../${OTHER_TABLE}/2/1/3.pbf`),
    at("a query in the path", `${other}%3f${path}?${good}`),
    at("an unknown path", `/other/${TABLE}/2/1/3.pbf?${good}`),
    at("what is beside the tiles", `/?${good}`),
    {
      attack: "a header that overrides the path",
      target: `${other}?${good}`,
      headers: { "x-original-uri": `${path}?${good}` },
    },
    {
      attack: "a proxy's header that overrides the path",
      target: `${other}?${good}`,
      headers: { "x-forwarded-uri": `${path}?${good}` },
    },
    {
      attack: "IIS' header that overrides the path",
      target: `${other}?${good}`,
      headers: { "x-rewrite-url": path, "x-original-url": path },
    },
    {
      attack: "an alias of a proxy's header",
      target: `${other}?${good}`,
      headers: { x_forwarded_uri: `${path}?${good}`, x_original_uri: `${path}?${good}` },
    },
    {
      attack: "a proxy's header about the method",
      target: `${other}?${good}`,
      headers: { "x-forwarded-method": "OPTIONS", "x-original-method": "OPTIONS" },
    },
    {
      attack: "a header that the proxy is told to drop",
      target: `${other}?${good}`,
      headers: { "x-forwarded-uri": `${path}?${good}`, connection: "x-forwarded-uri, x-original-uri" },
    },
    {
      attack: "a verdict of one's own",
      target: `${other}?${good}`,
      headers: { "x-tilegate-scope": OTHER_TABLE, "x-tilegate-principal": "operator" },
    },
    { attack: "a health check's name", target: path, headers: { "user-agent": "kube-probe/1.30" } },
  ];
}
