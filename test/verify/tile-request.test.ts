import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readTileRequest } from "#tile-request";

const SIG = "79f0f621633c3bf89e81b720e2f6b604e5ab0d933e508de6ed0205f52d5204d4";
const PATH = "/tiles/data.roads/1/2/3.pbf";
const TOKEN = `sig=${SIG}&exp=1800000000&scope=roads`;
const token = { sig: SIG, exp: 1_800_000_000, scope: "roads" };

const read = (query: string) => readTileRequest(`${PATH}?${query}`);

describe("a tile request's credentials", () => {
  test.each([
    ["a token", TOKEN, { token }],
    ["its parts in any order", `scope=roads&exp=1800000000&sig=${SIG}`, { token }],
    ["a signature by Ed25519", TOKEN.replace(SIG, SIG + SIG), { token: { ...token, sig: SIG + SIG } }],
    ["a key", "key=tgk_abcDEF123", { key: "tgk_abcDEF123" }],
    ["both", `${TOKEN}&key=tgk_a`, { token, key: "tgk_a" }],
    ["a key with all that is visible", "key=!a=b?/'%41", { key: "!a=b?/'%41" }],
    ["nothing", "", {}],
    ["nothing of ours", "cols=a,b&v=2&cluster_radius=40&sigma=2&_v=1&colormap_name=viridis&pmin=1", {}],
    [
      "names that only begin or end like ours",
      "signature=1&expires=2&my-key=3&scope_id=4&key.x=5&Sigma=6",
      {},
    ],
    ["what others escape", "filter=a%3D%27%C5%BE%27&$x:y=%00&x[]=1&=&&a==b&a=1&a=2&a=x%3By", {}],
    ["a tenant's scope", TOKEN.replace("roads", "a:b"), { token: { ...token, scope: "a:b" } }],
    [
      "a tenant's scope, escaped",
      TOKEN.replace("roads", "a%3Ab%3ac"),
      { token: { ...token, scope: "a:b:c" } },
    ],
    [
      "a table's $, as it is and escaped",
      TOKEN.replace("roads", "$a%24"),
      { token: { ...token, scope: "$a$" } },
    ],
    ["the last second", TOKEN.replace("1800000000", "4294967295"), { token: { ...token, exp: 4294967295 } }],
    ["the first second", TOKEN.replace("1800000000", "0"), { token: { ...token, exp: 0 } }],
    ["64 parameters", `${TOKEN}${"&a".repeat(61)}`, { token }],
    ["a semicolon that is escaped", `filter=a%3Bkey%3D1&${TOKEN}`, { token }],
    ["a question mark after the first", `a=?&${TOKEN}`, { token }],
  ])("are read: %s", (_name, query, expected) => {
    expect(read(query)).toEqual({ path: PATH, ...expected });
  });

  test("a target without a query has none, and its path is what it was", () => {
    for (const path of ["/", "/a/../b", "//a", "/%2e%2e/", "/a;b\\c"]) {
      expect(readTileRequest(path)).toEqual({ path });
    }
  });
});

describe("refused, since two servers could read it differently", () => {
  const changed = (from: string, to: string) => TOKEN.replace(from, to);
  test.each([
    // GeoLens #1372: nginx takes the first in any case, frameworks the last in this case.
    ["a repeated signature", `${TOKEN}&sig=${SIG}`],
    ["a repeated expiry", `exp=1&${TOKEN}`],
    ["a repeated scope", `${TOKEN}&scope=rivers`],
    ["a repeated key", "key=a&key=b"],
    ["an empty one before", `key=&${TOKEN}&key=a`],
    ["another case", `${TOKEN}&Scope=rivers`],
    ["another case alone", changed("sig", "SIG")],
    ["an escaped name", `${TOKEN}&%73cope=rivers`],
    ["an escaped name in another case", `${TOKEN}&%53COPE=rivers`],
    ["an escaped equals sign", `${TOKEN}&key%3Da`],
    ["a name with a space", `${TOKEN}&scope+=rivers`],
    ["a name after a space", `${TOKEN}&%20scope=rivers`],
    ["a name that ends with NUL", `${TOKEN}&scope%00x=rivers`],
    ["a list in PHP's form", `${TOKEN}&scope[]=rivers`],
    ["a member in PHP's form, escaped", `${TOKEN}&scope%5B0%5D=rivers`],
    // HAProxy's url_param takes `;` for `&`.
    ["a second one after a semicolon", `${TOKEN}&a=1;scope=rivers`],
    ["a second one after a semicolon of ours", `${TOKEN};scope=rivers`],
    ["a semicolon", `${TOKEN}&a=1;b`],
    ["an escaped name of others", `${TOKEN}&%C5%BE=1`],
    ["a second one after a semicolon, escaped", `${TOKEN}&a=1;%73cope=rivers`],
    ["65 parameters", `${TOKEN}${"&a".repeat(62)}`],
    ["a name alone", "key"],
    ["a name alone beside", `${TOKEN}&sig`],
    ["no value", "key="],
    ["no signature", changed(`sig=${SIG}&`, "")],
    ["no expiry", changed("exp=1800000000&", "")],
    ["no scope", changed("&scope=roads", "")],
    ["an empty scope", changed("roads", "")],
    ["a signature in capitals", changed(SIG, SIG.toUpperCase())],
    ["a short signature", changed(SIG, SIG.slice(1))],
    ["a long signature", changed(SIG, `${SIG}00`)],
    ["a signature of 192 digits", changed(SIG, SIG + SIG + SIG)],
    ["an escaped signature", changed("79f", "%379f")],
    ["an expiry with a zero before", changed("1800000000", "01800000000")],
    ["an expiry with a sign", changed("1800000000", "+1800000000")],
    ["a negative expiry", changed("1800000000", "-1800000000")],
    ["an expiry with a fraction", changed("1800000000", "1800000000.0")],
    ["an expiry with an exponent", changed("1800000000", "18e8")],
    ["an expiry in hexadecimal", changed("1800000000", "0x6b49d200")],
    ["an escaped expiry", changed("1800000000", "%31800000000")],
    ["an expiry after 32 bits", changed("1800000000", "4294967296")],
    ["an expiry of 11 digits", changed("1800000000", "18000000000")],
    ["an expiry with a space", changed("1800000000", "1800000000+")],
    ["a scope with a space", changed("roads", "ro+ads")],
    ["a scope that is escaped needlessly", changed("roads", "%72oads")],
    ["a scope escaped twice", changed("roads", "a%253Ab")],
    ["a scope with a slash", changed("roads", "a%2Fb")],
    ["a scope with a comma", changed("roads", "roads,rivers")],
    ["a scope with a bad escape", changed("roads", "roads%")],
    ["a scope of 201 characters", changed("roads", "a".repeat(201))],
    ["a key of 257 characters", `key=${"a".repeat(257)}`],
  ])("%s", (_name, query) => {
    expect(read(query)).toBeUndefined();
  });

  test.each([
    ["empty", ""],
    ["a full URL", `https://a.example${PATH}`],
    ["an authority", "a.example:443"],
    ["an asterisk", "*"],
    ["no slash first", `?${TOKEN}`],
    // CVE-2026-41059: `#` widened a match.
    ["a fragment in the path", `${PATH}#?${TOKEN}`],
    ["a fragment in the query", `${PATH}?${TOKEN}#`],
    ["a space", `${PATH}?${TOKEN} `],
    ["a line's end", `${PATH}?${TOKEN}\n`],
    ["a line's end first", `\n${PATH}`],
    ["NUL", `${PATH}\0?${TOKEN}`],
    ["a tab", `${PATH}?a=\t&${TOKEN}`],
    ["DEL", `${PATH}\x7f`],
    ["letters beyond ASCII", `${PATH}?a=ž&${TOKEN}`],
    // Lower-cased, it is a k.
    ["a Kelvin sign", `${PATH}?\u212Aey=a`],
    ["a lone surrogate", `${PATH}?\uD800`],
    ["more than 8 KiB", `${PATH}?a=${"a".repeat(8192)}`],
    ["1 MB of ampersands", `${PATH}?${"&".repeat(1024 * 1024)}`],
  ])("a target: %s", (_name, target) => {
    expect(readTileRequest(target)).toBeUndefined();
  });
});

const ourName = fc.constantFrom(
  "sig",
  "exp",
  "scope",
  "key",
  "SIG",
  "%65xp",
  "scope[]",
  "key ",
  "a",
  "",
  "constructor",
);
const ourValue = fc.oneof(
  fc.constantFrom(SIG, "1800000000", "roads", "a%3Ab", "tgk_a", "", "%", "%zz", ";sig=1"),
  fc.string(),
);
const query = fc
  .array(fc.tuple(ourName, ourValue), { maxLength: 8 })
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));

test("whatever is sent, nothing is thrown, and what is read stands in it once, in its canonical form", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: "binary" }),
        query.map((text) => `${PATH}?${text}`),
      ),
      (target) => {
        const request = readTileRequest(target);
        if (request === undefined) return;
        expect(target === request.path || target.startsWith(`${request.path}?`)).toBe(true);
        const parameters = new URLSearchParams(target.slice(request.path.length));
        const { token: { sig, exp, scope } = {}, key } = request;
        // What another reader finds.
        expect(parameters.getAll("sig")).toEqual(sig === undefined ? [] : [sig]);
        expect(parameters.getAll("exp")).toEqual(exp === undefined ? [] : [String(exp)]);
        expect(parameters.getAll("scope")).toEqual(scope === undefined ? [] : [scope]);
        expect(parameters.getAll("key")).toHaveLength(key === undefined ? 0 : 1);
      },
    ),
    { numRuns: 5_000 },
  );
});

test("8 KiB cost no more than their length, whatever they are", () => {
  const hostile = ["&", ";", "%", "=", "a;", ";%20", "%73", "+", "key", "%20", "[", "sig%"].map((part) =>
    `${PATH}?a${part.repeat(8_000 / part.length)}`.slice(0, 8_192),
  );
  const started = performance.now();
  for (let round = 0; round < 20; round += 1) for (const target of hostile) readTileRequest(target);
  expect(performance.now() - started).toBeLessThan(5_000);
});
