import { createHmac, randomInt } from "node:crypto";
import { SIGNING_KEY } from "../../bench/fixture.mjs";
import { openHttp1 } from "../../bench/generator/http1.mjs";
import { createRandom } from "../random.mjs";

const REQUESTS = 120_000;
const SHORT_REQUESTS = 2_000;
const CONNECTIONS = 16;
const TOLD = 10;
const TABLE = "roads";
const LIVE_SECONDS = 3_600;

/** @type {import("../stage.mjs").Attack} */
export const confusion = {
  name: "confusion",
  description: `${REQUESTS} tile URIs that two programs may read in two ways, by forward auth`,
  cleartextOnly: true,
  async run(stage) {
    const { outcome } = await stage.attack(import.meta.url, "confuse", {
      requests: stage.short ? SHORT_REQUESTS : REQUESTS,
      seed: randomInt(2 ** 31),
    });
    return [
      { what: "requests", value: outcome.requests },
      { what: "passed", value: outcome.passed },
      { what: "seed", value: outcome.seed },
      { what: "nothing passed, so nothing was tried", value: outcome.passed > 0 ? 0 : 1, max: 0 },
      { what: "passed, read in two ways", value: outcome.confused, max: 0, details: outcome.told },
    ];
  },
};

/** What some program skips, decodes, splits at or compares without regard to. */
const FRAGMENTS = [
  ..."/?#&=;:,.%\\+@~$*!|^'\"<>{}[]()`\t 0Aé".split(""),
  ...[
    "//",
    "/.",
    "/..",
    "/../",
    "/./",
    "..;/",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "%00",
    "%23",
    "%3f",
    "%25",
    "%26",
    "%3d",
    "%0a",
  ],
  ...[
    "sig=",
    "&sig=0",
    "&Sig=0",
    "&exp=1",
    "&EXP=1",
    "&scope=secrets",
    "&SCOPE=",
    "&%73ig=0",
    "&key=",
    "&sig[]=0",
    "+",
    "%20",
  ],
  ...[
    "roads",
    "secrets",
    "data.",
    "/secrets/1/1/1",
    "?x=/roads/1/1/1",
    "http://evil",
    "//evil",
    ",secrets",
    "secrets,",
  ],
];

const PATHS = [
  `/${TABLE}/1/2/3`,
  `/${TABLE}`,
  `/tiles/data.${TABLE}/1/2/3.pbf`,
  `/api/tiles/clusters/data.${TABLE}/1/2/3.pbf`,
];

/** What may pass: written for this, and not what the service matches by. */
const HARMLESS =
  /^\/(?:(?:api\/)?tiles\/(?:clusters\/)?data\.(roads|secrets)\/\d+\/\d+\/\d+\.[a-z0-9]+|(?:tiles\/)?(roads|secrets)(?:\/\d+\/\d+\/\d+(?:\.[a-z0-9]+)?)?)$/;

/** @param {string} scope @param {number} exp */
const sign = (scope, exp) => createHmac("sha256", SIGNING_KEY).update(`${scope}:${exp}`).digest("hex");

/**
 * Why a request that has passed should not have, if any program might read it otherwise.
 * @param {string} target @param {readonly string[]} others Of the headers that tell it, or seem to.
 */
function confusionOf(target, others) {
  if (others.some((other) => other !== target)) return "another header tells another target";
  const [path = "", ...rest] = target.split("?");
  const [, ofGeoLens, table = ofGeoLens] = HARMLESS.exec(path) ?? [];
  if (table === undefined) return "the path";
  let read = "";
  try {
    read = decodeURIComponent(new URL(target, "http://tiles.example").pathname);
  } catch {
    return "not a URL";
  }
  if (read !== path) return "the path reads otherwise once it is normalised";
  const parameters = [...new URLSearchParams(rest.join("?").replaceAll(";", "&"))].map(([name, value]) => [
    name.trim().toLowerCase().replace(/\[.*/, ""),
    value,
  ]);
  const valuesOf = (/** @type {string} */ name) =>
    parameters.filter(([key]) => key === name).map(([, value]) => value);
  const [sigs, exps, scopes] = ["sig", "exp", "scope"].map(valuesOf);
  if (sigs?.length !== 1 || exps?.length !== 1 || scopes?.length !== 1) return "a parameter is there twice";
  const exp = Number(exps[0]);
  if (scopes[0] !== table || String(exp) !== exps[0] || sigs[0] !== sign(table, exp)) return "the token";
  return exp * 1000 > Date.now() ? undefined : "an expired token";
}

/** @param {() => number} random */
function createTargets(random) {
  const pick = (/** @type {readonly any[]} */ values) => values[Math.floor(random() * values.length)];
  const exp = Math.floor(Date.now() / 1000) + LIVE_SECONDS;
  const queries = [
    `sig=${sign(TABLE, exp)}&exp=${exp}&scope=${TABLE}`,
    `v=1&sig=${sign(TABLE, exp)}&exp=${exp}&scope=${TABLE}&cols=a`,
    `sig=${sign(TABLE, 1)}&exp=1&scope=${TABLE}`,
    `sig=${sign("secrets", exp)}&exp=${exp}&scope=secrets`,
  ];
  const mutate = (/** @type {string} */ text) => {
    const at = Math.floor(random() * (text.length + 1));
    const [before, after] = [text.slice(0, at), text.slice(at)];
    switch (Math.floor(random() * 6)) {
      case 0:
        return before + after.slice(1);
      case 1:
        return before + pick(FRAGMENTS) + after.slice(1);
      case 2:
        return text.replace(TABLE, pick(["Roads", "roads%20", "r%6fads", "secrets", "roads.", "./roads"]));
      case 3:
        return before + (random() < 0.5 ? after.toUpperCase() : after.toLowerCase());
      case 4:
        return before + after.slice(0, 12) + after;
      default:
        return before + pick(FRAGMENTS) + after;
    }
  };
  return () => {
    let target = `${pick(PATHS)}?${pick([queries[0], queries[0], queries[0], ...queries])}`;
    for (let times = Math.floor(random() * 4); times > 0; times -= 1) target = mutate(target);
    const header = pick(["X-Original-URI", "X-Forwarded-Uri"]);
    /** @type {[string, string][]} */
    const headers = [[header, target]];
    if (random() < 0.1) {
      const name = pick(["X-Original-URI", "X-Forwarded-Uri", "X_Original_URI", "X-Forwarded_Uri"]);
      headers.push([name, random() < 0.5 ? target : mutate(target)]);
    }
    return { target, headers };
  };
}

export const attackers = {
  /** @param {import("../client.mjs").Address & { requests: number, seed: number }} options */
  async confuse({ port, requests, seed }) {
    const next = createTargets(createRandom(seed));
    /** @type {((status: number) => void)[]} */
    const waiting = [];
    /** @type {(error: Error) => void} */
    let onFail = () => {};
    const failure = new Promise((_, reject) => {
      onFail = reject;
    });
    failure.catch(() => {});
    const onDone = (/** @type {number} */ slot, /** @type {number} */ status) => waiting[slot]?.(status);
    const http1 = await openHttp1({ port, onFail, onDone, connections: CONNECTIONS });

    let [asked, passed, confused] = [0, 0, 0];
    /** @type {string[]} */
    const told = [];
    const work = async (/** @type {number} */ slot) => {
      while (asked < requests) {
        const { target, headers } = next();
        // A line's end would be another header, a blank at an end none of the value's.
        if (/[\r\n\0]|^\s|\s$/.test(target)) continue;
        asked += 1;
        const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
        const status = await new Promise((/** @type {(status: number) => void} */ resolve) => {
          waiting[slot] = resolve;
          const bytes = Buffer.from(`GET /auth/tiles HTTP/1.1\r\nhost: a\r\n${lines}\r\n`, "latin1");
          http1.send(slot, { bytes, dataIdAt: 0, bodyBytes: 0 }, false);
        });
        // A busy machine's database may be too slow to tell: 503, which is a refusal.
        if (status >= 500 && status !== 503)
          throw new Error(`status ${status} for ${JSON.stringify(headers)}`);
        if (status !== 200) continue;
        passed += 1;
        const why = confusionOf(
          target,
          headers.map(([, value]) => value),
        );
        if (why === undefined) continue;
        confused += 1;
        if (told.length < TOLD) told.push(`${why}: ${JSON.stringify(headers)}`);
      }
    };
    await Promise.race([Promise.all(Array.from({ length: CONNECTIONS }, (_, slot) => work(slot))), failure]);
    http1.close();
    return { outcome: { requests: asked, passed, seed, confused, told } };
  },
};
