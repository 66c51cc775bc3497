import { execFile } from "node:child_process";
import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { build } from "esbuild";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { createVerifier, type Ed25519PublicKey, pollRevocations } from "../../packages/verify/dist/index.js";
import { createSigningKeyRing } from "../../src/domain/tile-tokens/key-ring.js";
import { CASES, failuresOf, LIST, NOW, PUBLIC_KEY } from "./cases.mjs";

const SECRET = "tilegate-test-secret";
const PATH = "/tiles/data.roads/1/2/3.pbf";
const EXP = 1_800_000_000;

const ring = createSigningKeyRing("hmac", { hmac: [SECRET], ed25519: [] });
const signed = (scope: string, exp = EXP, path = PATH) =>
  `${path}?sig=${ring.sign(scope, exp)}&exp=${exp}&scope=${encodeURIComponent(scope)}`;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW * 1000 });
});

afterEach(() => {
  vi.useRealTimers();
});

test.each(CASES.map(({ name }) => name))("is answered as in every runtime: %s", async (name) => {
  const failures = await failuresOf({ createVerifier, pollRevocations });
  expect(failures.filter((failure) => failure.startsWith(`${name}:`))).toEqual([]);
});

describe("a token's life", () => {
  test("ends with the second before its expiry, and the skew later", async () => {
    const verifiers = [0, 5, Number.NaN].map((clockSkewSeconds) =>
      createVerifier({ keys: [SECRET], clockSkewSeconds }),
    );
    const at = async (seconds: number) => {
      vi.setSystemTime(seconds * 1000);
      return Promise.all(verifiers.map(async (verifier) => (await verifier.verify(signed("roads"))).valid));
    };
    expect(await at(EXP - 0.001)).toEqual([true, true, false]);
    expect(await at(EXP)).toEqual([false, true, false]);
    expect(await at(EXP + 4.999)).toEqual([false, true, false]);
    expect(await at(EXP + 5)).toEqual([false, false, false]);
  });
});

describe("keys", () => {
  test.each<[string, unknown]>([
    ["a secret that isn't there: anybody could sign with it", ""],
    ["a short secret", "fifteen-bytes-0"],
    ["a private key", { ...PUBLIC_KEY, d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A" }],
    ["a private key without its secret", { ...PUBLIC_KEY, d: "" }],
  ])("refused: %s", (_name, key) => {
    expect(() => createVerifier({ keys: [SECRET, key as string] })).toThrow(new TypeError("bad key"));
  });

  test.each([
    ["a key of another curve", { kty: "OKP", crv: "X25519", x: PUBLIC_KEY.x }],
    ["a key of another kind", { kty: "RSA", n: "AQAB", e: "AQAB" }],
    ["a short key", { ...PUBLIC_KEY, x: "AAAA" }],
  ])("what is no key of Ed25519 verifies nothing: %s", async (_name, key) => {
    const verifier = createVerifier({ keys: [key as Ed25519PublicKey] });
    const url = `${PATH}?sig=${"0".repeat(128)}&exp=${EXP}&scope=roads`;
    await expect(verifier.verify(url)).rejects.toThrow();
  });

  test("an RSA or HMAC signature is never tried with a key of Ed25519, nor the other way round", async () => {
    const verify = vi.spyOn(crypto.subtle, "verify");
    onTestFinished(() => verify.mockRestore());
    await createVerifier({ keys: [PUBLIC_KEY] }).verify(signed("roads"));
    expect(verify).not.toHaveBeenCalled();
    await createVerifier({ keys: [SECRET] }).verify(`${PATH}?sig=${"0".repeat(128)}&exp=${EXP}&scope=roads`);
    expect(verify).not.toHaveBeenCalled();
  });

  test("are imported once", async () => {
    const importKey = vi.spyOn(crypto.subtle, "importKey");
    onTestFinished(() => importKey.mockRestore());
    const verifier = createVerifier({ keys: [SECRET, PUBLIC_KEY] });
    expect(importKey).not.toHaveBeenCalled();
    for (let time = 0; time < 3; time += 1) await verifier.verify(signed("roads"));
    expect(importKey).toHaveBeenCalledTimes(1);
  });
});

describe("a signature that was good once", () => {
  const count = async (ask: () => Promise<unknown>) => {
    const verify = vi.spyOn(crypto.subtle, "verify");
    try {
      await ask();
      return verify.mock.calls.length;
    } finally {
      verify.mockRestore();
    }
  };

  test("isn't computed again for the next tile", async () => {
    const verifier = createVerifier({ keys: [SECRET] });
    const ask = (tile: string) => verifier.verify(signed("roads").replace("/1/2/3.", tile));
    expect(await count(() => ask("/1/2/3."))).toBe(1);
    expect(await count(() => ask("/4/5/6."))).toBe(0);
  });

  test("is good for nothing else, and for no longer", async () => {
    const verifier = createVerifier({ keys: [SECRET] });
    const good = signed("roads");
    expect((await verifier.verify(good)).valid).toBe(true);
    const ask = (url: string) => verifier.verify(url);
    expect(await ask(good.replace("scope=roads", "scope=rivers"))).toMatchObject({ reason: "signature" });
    expect(await ask(good.replace(`exp=${EXP}`, `exp=${EXP + 1}`))).toMatchObject({ reason: "signature" });
    const [, sig = ""] = /sig=(\w+)/.exec(good) ?? [];
    const moved = `${PATH}?sig=${sig}${sig}&exp=${EXP}&scope=roads`;
    expect(await ask(moved)).toMatchObject({ reason: "signature" });
    expect(await ask(good.replace("data.roads", "data.rivers"))).toMatchObject({ reason: "scope" });
    vi.setSystemTime(EXP * 1000);
    expect(await ask(good)).toMatchObject({ reason: "expired" });
  });

  test("takes room for a thousand, and bad ones take none", async () => {
    const verifier = createVerifier({ keys: [SECRET] });
    const first = signed("roads");
    await verifier.verify(first);
    for (let index = 0; index < 2_000; index += 1)
      await verifier.verify(first.replace(/exp=\d+/, `exp=${EXP + 1 + index}`));
    expect(await count(() => verifier.verify(first))).toBe(0);
    for (let index = 1; index <= 1_000; index += 1) await verifier.verify(signed("roads", EXP + index));
    expect(await count(() => verifier.verify(first))).toBe(1);
  });
});

const scope = fc.oneof(
  fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/),
  fc.uuid(),
  fc.tuple(fc.uuid(), fc.uuid()).map((parts) => parts.join(":")),
);
const secret = fc.string({ unit: "grapheme", minLength: 16, maxLength: 80 });

const seed = fc.uint8Array({ minLength: 32, maxLength: 32 });

test("takes what the service's key ring takes, and nothing else", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        hmac: fc.array(secret, { minLength: 1, maxLength: 3 }),
        ed25519: fc.array(seed, { minLength: 1, maxLength: 3 }),
      }),
      fc.constantFrom("hmac", "ed25519"),
      fc.nat(2),
      scope,
      fc.integer({ min: NOW + 1, max: 0xffffffff }),
      fc.nat(511),
      async (keys, algorithm, index, scope, exp, flipped) => {
        const all = createSigningKeyRing(algorithm, keys);
        const verifier = createVerifier({ keys: [...keys.hmac, ...all.publicKeys()] });
        // Any key of the ring: it was the first once.
        const signer = createSigningKeyRing(algorithm, {
          hmac: keys.hmac.slice(index % keys.hmac.length),
          ed25519: keys.ed25519.slice(index % keys.ed25519.length),
        });
        const sig = signer.sign(scope, exp);
        expect(all.verifies(scope, exp, sig)).toBe(true);
        const path = `/${scope.split(":").at(-1)}/1/2/3`;
        const ask = (sig: string) => verifier.verify(`${path}?sig=${sig}&exp=${exp}&scope=${scope}`);
        await expect(ask(sig)).resolves.toEqual({ valid: true, scope, exp });

        const bytes = Buffer.from(sig, "hex");
        const at = flipped % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (flipped % 8));
        expect(all.verifies(scope, exp, bytes.toString("hex"))).toBe(false);
        await expect(ask(bytes.toString("hex"))).resolves.toEqual({ valid: false, reason: "signature" });
      },
    ),
    { numRuns: 300 },
  );
});

test("whatever the URL, there is a verdict, and never that it's good", async () => {
  const verifier = createVerifier({ keys: [SECRET, PUBLIC_KEY] });
  const token = signed("roads").replace(/.*\?/, "");
  const mutated = fc
    .tuple(fc.nat(signed("roads").length), fc.string({ unit: "binary", maxLength: 6 }), fc.nat(3))
    .map(([at, text, removed]) => {
      const good = signed("roads");
      return good.slice(0, at) + text + good.slice(at + removed);
    });
  const url = fc.oneof(
    fc.string({ unit: "binary", maxLength: 200 }),
    fc.webUrl({ withQueryParameters: true, withFragments: true }),
    fc.string({ unit: "binary", maxLength: 40 }).map((path) => `/${path}?${token}`),
    mutated,
  );
  await fc.assert(
    fc.asyncProperty(url, async (url) => {
      const verdict = await verifier.verify(url);
      if (!verdict.valid) return;
      // All that may be added is what is not read.
      const rest = url.replace(/[?&](sig|exp|scope)=[^&]*/g, "");
      expect(rest).toMatch(/^\/(?:api\/)?tiles\/data\.roads\/\d+\/\d+\/\d+\.[a-z0-9]+(?:[?&][^#;]*)?$/);
      expect(new URLSearchParams(url.replace(/^[^?]*/, "")).getAll("scope")).toEqual(["roads"]);
    }),
    { numRuns: 3_000 },
  );
});

describe("one path in two forms is refused", () => {
  const verifier = createVerifier({ keys: [SECRET] });
  const token = signed("roads").replace(/.*\?/, "");
  test.each<[string, string]>([
    ["dot segments", "/tiles/data.secret/../data.roads/1/2/3.pbf"],
    ["a dot segment", "/./tiles/data.roads/1/2/3.pbf"],
    ["escaped dots", "/tiles/data.secret/%2e%2e/data.roads/1/2/3.pbf"],
    ["an escaped slash", "/tiles/data.roads%2f1/2/3.pbf"],
    ["an escaped letter", "/tiles/data.%72oads/1/2/3.pbf"],
    ["a slash twice", "//tiles/data.roads/1/2/3.pbf"],
    ["a slash twice within", "/tiles//data.roads/1/2/3.pbf"],
    ["a slash at the end", `${PATH}/`],
    ["a backslash", "/tiles\\data.roads/1/2/3.pbf"],
    ["a parameter of the path", "/tiles/data.roads;a/1/2/3.pbf"],
    ["NUL", `${PATH}\0`],
    ["letters beyond ASCII", "/tiles/data.röads/1/2/3.pbf"],
    ["letters that look alike", "/tiles/data.\u{ff52}oads/1/2/3.pbf"],
    ["an authority in the path", "https:///tiles/data.roads/1/2/3.pbf"],
    ["a backslash after the scheme", "https:\\\\a.example/tiles/data.roads/1/2/3.pbf"],
    ["a backslash after the host", "https://a.example\\tiles/data.roads/1/2/3.pbf"],
    ["a backslash that hides a segment", "https://a.example\\secret/roads/1/2/3"],
    ["another scheme", `file://a.example${PATH}`],
    ["no scheme", `a.example${PATH}`],
    ["1 MB", `/${"a".repeat(1024 * 1024)}`],
    ["1 MB of host", `https://${"a".repeat(1024 * 1024)}${"/a".repeat(5000)}`],
  ])("%s", async (_name, path) => {
    expect(await verifier.verify(`${path}?${token}`)).toMatchObject({ valid: false });
  });

  test("a fragment, in text and in a URL", async () => {
    const url = `https://a.example${signed("roads")}`;
    expect(await verifier.verify(url)).toMatchObject({ valid: true });
    expect(await verifier.verify(new URL(url))).toMatchObject({ valid: true });
    for (const hash of ["#", "#a"]) {
      expect(await verifier.verify(url + hash)).toEqual({ valid: false, reason: "malformed" });
    }
    expect(await verifier.verify(new URL(`${url}#a`))).toEqual({ valid: false, reason: "malformed" });
  });

  test("a template that names nothing opens nothing", async () => {
    const verifier = createVerifier({
      keys: [SECRET],
      paths: ["/{z}/{x}", "Martin", "/{tabel}"],
    });
    for (const path of ["/1/2", "Martin", "/Martin", "/roads", "/1"]) {
      expect((await verifier.verify(signed("roads", EXP, path))).valid).toBe(false);
    }
  });
});

interface Origin {
  readonly url: string;
  readonly asked: (string | undefined)[];
  list: object | undefined;
}

/** Serves a list as Tilegate does, and hangs up on whoever asks while there is none. */
async function startOrigin(): Promise<Origin> {
  const origin: { asked: (string | undefined)[]; list: object | undefined } = { asked: [], list: undefined };
  const server = createServer((request, response) => {
    origin.asked.push(request.headers["if-none-match"]);
    if (origin.list === undefined) {
      request.socket.destroy();
      return;
    }
    const body = JSON.stringify(origin.list);
    const etag = `"${body.length}"`;
    const isKnown = request.headers["if-none-match"] === etag;
    response.writeHead(isKnown ? 304 : 200, { etag, "content-type": "application/json" });
    response.end(isKnown ? undefined : body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(origin, { url: `http://127.0.0.1:${port}/.well-known/tilegate/revocations` });
}

const { privateKey, publicKey } = generateKeyPairSync("ed25519");

/** As the service signs it: scopes in the order of their code units. */
function signList(revocations: Record<string, number>, issued: number, key?: KeyObject) {
  const scopes = Object.keys(revocations).sort((a, b) => (a < b ? -1 : 1));
  const text = `revocations\n${issued}\n${scopes.map((scope) => `${revocations[scope]} ${scope}\n`).join("")}`;
  const sig = key
    ? sign(null, Buffer.from(text), key).toString("hex")
    : createHmac("sha256", SECRET).update(text).digest("hex");
  return { revocations, issued, sig };
}

describe("revocations", () => {
  const verdict = async (verifier: ReturnType<typeof createVerifier>, scope: string, exp = EXP) => {
    const path = `/${scope}/1/2/3`;
    const answer = await verifier.verify(signed(scope, exp, path));
    return answer.valid ? "valid" : answer.reason;
  };
  const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

  test("refuse tokens that expire when the list says, or before, and none that expire later", async () => {
    const origin = await startOrigin();
    origin.list = signList({ roads: EXP, $a: 1, constructor: 5 }, 1);
    const verifier = createVerifier({ keys: [SECRET], revocations: pollRevocations(origin.url) });
    expect(await verdict(verifier, "roads")).toBe("revoked");
    expect(await verdict(verifier, "roads", EXP - 900)).toBe("revoked");
    expect(await verdict(verifier, "roads", EXP + 1)).toBe("valid");
    expect(await verdict(verifier, "rivers")).toBe("valid");
    // Names that every object has.
    for (const scope of ["constructor", "toString", "__proto__"])
      expect(await verdict(verifier, scope)).toBe("valid");
    expect(await verdict(verifier, "rivers", NOW)).toBe("expired");
    expect(origin.asked).toEqual([undefined]);
  });

  test("are asked for when a list is old, and sent again only if there is a new one", async () => {
    const origin = await startOrigin();
    origin.list = signList({ a: EXP }, 1);
    const revocations = pollRevocations(new URL(origin.url), { pollSeconds: 10 });
    const verifier = createVerifier({ keys: [SECRET], revocations });
    expect(origin.asked).toEqual([]);
    expect(await verdict(verifier, "roads")).toBe("valid");
    later(9);
    expect(await verdict(verifier, "roads")).toBe("valid");
    expect(origin.asked).toHaveLength(1);
    const etag = `"${JSON.stringify(origin.list).length}"`;
    later(1);
    expect(await verdict(verifier, "a")).toBe("revoked");
    expect(origin.asked).toEqual([undefined, etag]);
    origin.list = signList({ a: EXP, roads: EXP }, 2);
    later(10);
    expect(await verdict(verifier, "roads")).toBe("revoked");
    expect(origin.asked).toEqual([undefined, etag, etag]);
  });

  test("of an origin that is away are those that were held: tiles go on, and nobody waits twice for it", async () => {
    const origin = await startOrigin();
    const verifier = createVerifier({ keys: [SECRET], revocations: pollRevocations(origin.url) });
    expect(await verdict(verifier, "roads")).toBe("valid");
    expect(await verdict(verifier, "roads")).toBe("valid");
    const asked = origin.asked.length;
    later(30);
    origin.list = signList({ roads: EXP }, 1);
    expect(await verdict(verifier, "roads")).toBe("revoked");
    origin.list = undefined;
    later(30);
    expect(await verdict(verifier, "roads")).toBe("revoked");
    expect(await verdict(verifier, "rivers")).toBe("valid");
    expect(origin.asked.length).toBeGreaterThan(asked + 1);
  });

  test("count for the very first tokens, however many come at once", async () => {
    const origin = await startOrigin();
    origin.list = signList({ roads: EXP }, 1);
    const verifier = createVerifier({ keys: [SECRET], revocations: pollRevocations(origin.url) });
    const verdicts = await Promise.all(Array.from({ length: 5 }, () => verdict(verifier, "roads")));
    expect(new Set(verdicts)).toEqual(new Set(["revoked"]));
    later(30);
    const asked = origin.asked.length;
    await Promise.all(Array.from({ length: 5 }, () => verdict(verifier, "roads")));
    expect(origin.asked).toHaveLength(asked + 1);
  });

  test("an older list, brought back by a cache or by whoever kept it, takes back nothing", async () => {
    const origin = await startOrigin();
    origin.list = signList({ roads: EXP }, 2);
    const verifier = createVerifier({ keys: [SECRET], revocations: pollRevocations(origin.url) });
    expect(await verdict(verifier, "roads")).toBe("revoked");
    origin.list = signList({}, 1);
    later(30);
    expect(await verdict(verifier, "roads")).toBe("revoked");
    origin.list = signList({}, 3);
    later(30);
    expect(await verdict(verifier, "roads")).toBe("valid");
  });

  test("may be signed by any key of the ring, whatever the order of their scopes", async () => {
    const origin = await startOrigin();
    // As texts with their expiries, `a$,` would come before `a,`.
    const scopes = { "b:c": 3, a$: EXP, a: EXP, roads: EXP, B: 2, _: 1, "10": 4, "9": 5 };
    origin.list = signList(scopes, 1, privateKey);
    const key = publicKey.export({ format: "jwk" }) as Ed25519PublicKey;
    const verifier = createVerifier({ keys: [SECRET, key], revocations: pollRevocations(origin.url) });
    expect(await verdict(verifier, "a")).toBe("revoked");
  });

  test.each<[string, unknown]>([
    ["nothing", {}],
    ["null", null],
    ["text", "a"],
    ["without a signature", { revocations: { roads: EXP }, issued: 1 }],
    ["with a signature that is no text", { revocations: { roads: EXP }, issued: 1, sig: 5 }],
    ["with an empty signature", { revocations: { roads: EXP }, issued: 1, sig: "" }],
    ["with a signature of lines", { revocations: { roads: EXP }, issued: 1, sig: "\n".repeat(64) }],
    ["with another's signature", { ...LIST, revocations: { roads: EXP } }],
    ["signed by another key", signList({ roads: EXP }, 1, privateKey)],
    ["signed, and then changed", { ...signList({ rivers: EXP }, 1), revocations: { roads: EXP } }],
    ["signed, with another time of issue", { ...signList({ roads: EXP }, 1), issued: 2 }],
  ])("that aren't signed count for nothing: %s", async (_name, list) => {
    const origin = await startOrigin();
    origin.list = list as object;
    const verifier = createVerifier({ keys: [SECRET, PUBLIC_KEY], revocations: pollRevocations(origin.url) });
    expect(await verdict(verifier, "roads")).toBe("valid");
  });

  test("may be somebody's own rule", async () => {
    const verifier = createVerifier({ keys: [SECRET], revocations: (scope) => scope === "roads" });
    expect(await verdict(verifier, "roads")).toBe("revoked");
    expect(await verdict(verifier, "rivers")).toBe("valid");
  });
});

describe("what is shipped", () => {
  const bundle = async (text: string) => {
    const { outputFiles } = await build({
      stdin: { contents: text, resolveDir: "." },
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      platform: "browser",
      target: "es2022",
      logLevel: "error",
    });
    return outputFiles[0]?.contents ?? new Uint8Array();
  };

  test("for browsers, without any external, is at most 2,500 bytes, and 550 more with the list of revocations", async () => {
    const verifier = await bundle('export { createVerifier } from "tilegate/verify"');
    const whole = await bundle('export * from "@tilegate/verify"');
    expect(verifier.length).toBeLessThanOrEqual(2_500);
    expect(whole.length).toBeLessThanOrEqual(verifier.length + 550);
    const url = `data:text/javascript;base64,${Buffer.from(whole).toString("base64")}`;
    const run = `const { failuresOf } = await import("./test/verify/cases.mjs");
console.log(JSON.stringify(await failuresOf(await import("${url}"))));`;
    const answer = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", run]);
    expect(JSON.parse(answer.stdout)).toEqual([]);
  });

  test("has the service's version", () => {
    const versionOf = (path: string) => JSON.parse(readFileSync(path, "utf8")).version;
    expect(versionOf("packages/verify/package.json")).toBe(versionOf("package.json"));
  });

  test("does nothing when it is imported only", async () => {
    expect((await bundle('import "tilegate/verify"; import "@tilegate/verify"')).length).toBe(0);
  });
});
