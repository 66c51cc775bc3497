// What tilegate/verify answers in every runtime: facts, and what asks for them. Imports nothing, so that all can run it.

/** Unix seconds: when all of this happens. */
export const NOW = 1_799_999_000;

const SECRET = "tilegate-test-secret";
const ID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";
const ACCOUNT = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

/** The key of RFC 8037, appendix A. */
export const PUBLIC_KEY = /** @type {const} */ ({
  kty: "OKP",
  crv: "Ed25519",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
});

/** As it stands in a key set. */
const PUBLISHED_KEY = { ...PUBLIC_KEY, kid: "tile-1", alg: "EdDSA", use: "sig" };

// Of vectors/tile-signatures.json.
const ROADS = "79f0f621633c3bf89e81b720e2f6b604e5ab0d933e508de6ed0205f52d5204d4";
const RASTER = "e025b8ce4c63f70810812915eb29e96ff3a97f566feaf0a62f09063106ea2f9a";
const OF_ACCOUNT = "7299c8b67cb4864ea07fa08829ea4358de12413017cdb6f3ba6be32ef50a044d";
const PARCELS = "17e28ec9418b92271a750de82cb8b7cf1cbfb1cdbf7d7083ce144fc360666a6a";
// Of the key above.
const ROADS_BY_ED25519 =
  "d726e75902bfeb61bebf0da58363fc1b31abfdfa87b4b4db0871cba0a921aa60bf1820d882aa769ace9f75b71a51e052b2bd75407b7c29178432f711c8fcd90d";
const RASTER_BY_ED25519 =
  "799f9564ef749ff878dd74885f533fe30b661e7dac21d12f0ad2cc4130e5e0eefdbf10f248fefd574b0390e16a52f2e6950a57f0cd58ad3bb011008b87cd2708";

const EXP = 1_800_000_000;
const PATH = "/tiles/data.roads/1/2/3.pbf";
const RASTER_PATH = `/raster-tiles/${ID}/tiles/3/4/5.png`;
const TOKEN = `sig=${ROADS}&exp=${EXP}&scope=roads`;
const GOOD = `https://tiles.example${PATH}?${TOKEN}`;
const valid = (scope = "roads", exp = EXP) => ({ valid: true, scope, exp });
const refused = (reason = "") => ({ valid: false, reason });

/** A list of revocations, signed by either key. */
export const LIST = {
  revocations: { roads: EXP, ab: 1_800_000_900, a: EXP, a$b: 1_799_999_999 },
  issued: 1_799_990_000,
  sig: "5c6439ae4827ed9dba2f5e30d6af20d1a123ea35fe7521f38e819f14129b8c40",
};
const LIST_BY_ED25519 = {
  ...LIST,
  sig: "152c57a9b750517cc64ff8e4e84573c56ef49521b26145d655c3bf40fc043337702da1189dea8a43c2f757c1dbd8cffbe9321a21373a51bd840fca94495fd309",
};

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {object} [options] Of `createVerifier`, instead of `{ keys: [SECRET] }`.
 * @property {object} [list] What is read where revocations are.
 * @property {string} url
 * @property {object} verdict
 */

/** @type {Case[]} */
export const CASES = [
  { name: "a vector token", url: GOOD, verdict: valid() },
  { name: "a request target", url: `${PATH}?${TOKEN}`, verdict: valid() },
  {
    name: "a raster token",
    url: `${RASTER_PATH}?sig=${RASTER}&exp=${EXP}&scope=${ID}&v=3`,
    verdict: valid(ID),
  },
  {
    name: "a tenant's token, escaped, where the path tells whose",
    options: { keys: [SECRET], paths: ["/{account}/{table}/{z}/{x}/{y}.{ext}"] },
    url: `/${ACCOUNT}/roads/1/2/3.mvt?sig=${OF_ACCOUNT}&exp=1800000900&scope=${ACCOUNT}%3Aroads`,
    verdict: valid(`${ACCOUNT}:roads`, 1_800_000_900),
  },
  {
    name: "a tenant's table where the path doesn't tell whose",
    url: `${PATH}?sig=${OF_ACCOUNT}&exp=1800000900&scope=${ACCOUNT}:roads`,
    verdict: refused("scope"),
  },
  {
    name: "a secret beyond ASCII",
    options: { keys: ["žluťoučký-klíč"] },
    url: `/parcels_2026/1/2/3?sig=${PARCELS}&exp=1799999100&scope=parcels_2026`,
    verdict: valid("parcels_2026", 1_799_999_100),
  },
  {
    name: "Ed25519",
    options: { keys: [PUBLIC_KEY] },
    url: GOOD.replace(ROADS, ROADS_BY_ED25519),
    verdict: valid(),
  },
  {
    name: "Ed25519 by a key of a key set, a tenant's raster",
    options: { keys: [PUBLISHED_KEY] },
    url: `${RASTER_PATH}?sig=${RASTER_BY_ED25519}&exp=${EXP}&scope=${ACCOUNT}%3a${ID}`,
    verdict: valid(`${ACCOUNT}:${ID}`),
  },
  {
    name: "the last key of a ring of both kinds, HMAC",
    options: { keys: [PUBLIC_KEY, "another-secret-000", SECRET] },
    url: GOOD,
    verdict: valid(),
  },
  {
    name: "the last key of a ring of both kinds, Ed25519",
    options: { keys: [SECRET, { ...PUBLIC_KEY, x: "A".repeat(43) }, PUBLIC_KEY] },
    url: GOOD.replace(ROADS, ROADS_BY_ED25519),
    verdict: valid(),
  },
  { name: "no token", url: `${PATH}?key=tgk_abc`, verdict: refused("missing") },
  { name: "a token in part", url: `${PATH}?sig=${ROADS}&exp=${EXP}`, verdict: refused("malformed") },
  { name: "a scope twice", url: `${GOOD}&scope=rivers`, verdict: refused("malformed") },
  { name: "expired", url: GOOD.replace(`${EXP}`, `${NOW}`), verdict: refused("expired") },
  { name: "a later expiry", url: GOOD.replace(`${EXP}`, "1800000900"), verdict: refused("signature") },
  { name: "another scope", url: GOOD.replace("=roads", "=rivers"), verdict: refused("signature") },
  {
    name: "another secret",
    options: { keys: ["another-secret-000"] },
    url: GOOD,
    verdict: refused("signature"),
  },
  { name: "no keys", options: { keys: [] }, url: GOOD, verdict: refused("signature") },
  {
    name: "HMAC with the public key's text as the secret",
    options: { keys: [PUBLIC_KEY] },
    url: GOOD,
    verdict: refused("signature"),
  },
  {
    name: "another signature by Ed25519",
    options: { keys: [PUBLIC_KEY] },
    url: GOOD.replace(ROADS, RASTER_BY_ED25519),
    verdict: refused("signature"),
  },
  {
    name: "a signature by Ed25519 of zeros",
    options: { keys: [SECRET, PUBLIC_KEY] },
    url: GOOD.replace(ROADS, "0".repeat(128)),
    verdict: refused("signature"),
  },
  { name: "a path of no template", url: `/fonts/a?${TOKEN}`, verdict: refused("path") },
  { name: "another table", url: GOOD.replace("data.roads", "data.rivers"), verdict: refused("scope") },
  { name: "a composite", url: `/roads,rivers/1/2/3?${TOKEN}`, verdict: refused("scope") },
  { name: "a token that is revoked", list: LIST, url: GOOD, verdict: refused("revoked") },
  {
    name: "a token that is revoked by a list under Ed25519",
    options: { keys: [SECRET, PUBLISHED_KEY] },
    list: LIST_BY_ED25519,
    url: GOOD,
    verdict: refused("revoked"),
  },
  {
    name: "a token that isn't on the list",
    list: LIST,
    url: `${RASTER_PATH}?sig=${RASTER}&exp=${EXP}&scope=${ID}`,
    verdict: valid(ID),
  },
  {
    name: "a list that somebody changed",
    list: { ...LIST, revocations: { ...LIST.revocations, roads: EXP + 1 } },
    url: GOOD,
    verdict: valid(),
  },
];

/** @param {object} list */
const answerWith = (list) => async () =>
  new Response(JSON.stringify(list), { headers: { etag: '"1"', "content-type": "application/json" } });

/**
 * Runs them at NOW.
 *
 * @param {any} verify What tilegate/verify exports.
 * @returns {Promise<string[]>} What went wrong.
 */
export async function failuresOf({ createVerifier, pollRevocations }) {
  const { now } = Date;
  Date.now = () => NOW * 1000;
  try {
    const failures = [];
    for (const { name, options = { keys: [SECRET] }, list, url, verdict } of CASES) {
      const revocations = list && pollRevocations("https://a.example/", { fetch: answerWith(list) });
      const verifier = createVerifier({ ...options, ...(revocations && { revocations }) });
      const [expected, actual] = [verdict, await verifier.verify(url)].map((value) => JSON.stringify(value));
      if (actual !== expected) failures.push(`${name}: ${actual}, not ${expected}`);
    }
    return failures;
  } finally {
    Date.now = now;
  }
}
