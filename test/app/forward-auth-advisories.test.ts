import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import type { TestApp } from "../harness/app.js";
import {
  ask,
  askFor,
  LIVE_EXP,
  queryOf,
  type RawHeaders,
  signatureOf,
  startWithTiles,
} from "./forward-auth.js";
import { ACCOUNT, PRIVATE } from "./token-doors.js";

// How forward auth was passed by elsewhere. Each case is named after the advisory: what happened there must not happen here.

let app: TestApp;
/** Opens the private dataset `secrets`, to pages of one origin. */
let key: string;
beforeAll(async () => {
  app = await startWithTiles();
  const restrictions = { origins: ["maps.example.com"], datasetIds: [PRIVATE] };
  key = (await app.useCases.apiKeys.create(OPERATOR, restrictions, ACCOUNT)).token;
});
afterAll(() => app[Symbol.asyncDispose]());

const GOOD = `/roads/1/1/1?${queryOf("roads")}`;
const refused = (reason: string) => ({ status: 403, reason });

test("CVE-2026-40575, oauth2-proxy: a client's X-Forwarded-Uri does not decide where no proxy is trusted that sent it", async () => {
  await using distrustful = await startWithTiles({ TRUSTED_PROXIES: "192.0.2.1" });
  for (const header of ["X-Forwarded-Uri", "X-Original-URI"]) {
    expect(await ask(distrustful, [header, GOOD])).toMatchObject(refused("malformed"));
  }
});

describe("CVE-2025-64484, oauth2-proxy; GHSA-5m6w-wvh7-57vm, Traefik; CVE-2026-52845, Caddy: underscores for dashes", () => {
  const aliases = [
    ...["X_Forwarded_Uri", "X_Original_URI", "X-Forwarded_Uri", "x_original-uri", "X_Forwarded_Method"],
    ...["X_Api_Key", "User_Agent", "X_Forwarded_For", "X_Tilegate_Scope", "X-Tilegate_Account"],
  ];
  test.each(aliases)("%s beside the real header is refused", async (alias) => {
    expect(await askFor(app, GOOD, [alias, "/secrets/1/1/1"])).toMatchObject(refused("malformed"));
    expect(await ask(app, [alias, GOOD])).toMatchObject(refused("malformed"));
  });

  test("other headers may have them", async () => {
    expect(await askFor(app, GOOD, ["X_Trace_Id", "1"])).toMatchObject({ status: 200 });
  });
});

test("GHSA-7rh7-c77v-6434, oauth2-proxy: a path is matched without its query", async () => {
  for (const target of [
    `/admin?/roads/1/1/1&${queryOf("roads")}`,
    `/admin/x?x=/roads/1/1/1&${queryOf("roads")}`,
    `/a/b/c/d/e?${queryOf("roads")}&/roads/1/1/1`,
  ]) {
    const answer = await askFor(app, target);
    expect([answer.status, answer.reason === "path" || answer.reason === "scope"]).toEqual([403, true]);
  }
});

test("CVE-2026-41059, oauth2-proxy: a # widens nothing", async () => {
  for (const target of [
    `/admin#/roads/1/1/1?${queryOf("roads")}`,
    `${GOOD}#`,
    `/roads/1/1/1#?${queryOf("roads")}`,
  ]) {
    expect(await askFor(app, target)).toMatchObject(refused("malformed"));
  }
  expect((await askFor(app, `/roads/1/1/1%23?${queryOf("roads")}`)).reason).toBe("path");
});

test("CVE-2026-34457, oauth2-proxy: no User-Agent of a health check is let through", async () => {
  for (const agent of ["kube-probe/1.33", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Consul Health Check"]) {
    const answer = await askFor(app, "/secrets/1/1/1", ["user-agent", agent]);
    expect(answer).toMatchObject({ status: 401 });
    expect(await ask(app, ["user-agent", agent])).toMatchObject(refused("malformed"));
  }
});

test("CVE-2026-40912, Traefik StripPrefixRegex; CVE-2026-65600, ReplacePathRegex: nothing in a path is encoded", async () => {
  for (const path of [
    "/roads%2F1/1/1",
    "/%72oads/1/1/1",
    "/roads/1/1/1%00",
    "/roads/1/1%2f1",
    "/secrets/%2e%2e/roads/1/1/1",
  ]) {
    expect(await askFor(app, `${path}?${queryOf("roads")}`)).toMatchObject(refused("path"));
  }
});

test("GHSA-6384-m2mw-rf54, Traefik: X-Forwarded-Prefix, -Port, -Proto and -Host take no part", async () => {
  const forged: RawHeaders = [
    ...["X-Forwarded-Prefix", "/roads", "X-Forwarded-Port", "1"],
    ...["X-Forwarded-Proto", "evil", "X-Forwarded-Host", "evil"],
  ];
  expect(await askFor(app, GOOD, forged)).toMatchObject({ status: 200 });
  expect(await askFor(app, `/1/1/1?${queryOf("roads")}`, forged)).toMatchObject(refused("path"));
});

test("CVE-2026-30851, Caddy copy_headers: every header of ours is in every 200, so that none of the client's stays", async () => {
  const own = ["scope", "account", "key-id", "principal", "cache"].map((name) => `x-tilegate-${name}`);
  const forged = own.flatMap((name) => [name, "forged"]);
  const answers = [
    await askFor(app, GOOD, forged),
    await askFor(app, `/theirs/1/1/1?${queryOf("theirs")}`, forged),
    await askFor(app, "/secrets/1/1/1", ["x-api-key", key, "origin", "https://maps.example.com", ...forged]),
  ];
  for (const { status, headers } of answers) {
    expect(status).toBe(200);
    for (const name of own) expect(headers[name]).toEqual(expect.not.stringContaining("forged"));
  }
});

test("GHSA-p224-6x5r-fjpm, Oathkeeper: dot segments, //, \\ and ; are refused, not normalised", async () => {
  const paths = [
    ...["/public/../roads/1/1/1", "/./roads/1/1/1", "/roads/./1/1/1", "/roads/1/1/1/..", "/roads/1/1/../1/1"],
    ...["//roads/1/1/1", "/roads//1/1/1", "/roads/1/1/1/", "/roads;x=1/1/1/1", "/roads/1/1/1;jsessionid=1"],
    ...["/roads\\1/1/1", "\\roads/1/1/1", "/.roads/1/1/1", "/../roads/1/1/1"],
  ];
  for (const path of paths) {
    const { status, reason } = await askFor(app, `${path}?${queryOf("roads")}`);
    expect([path, status, reason === "path" || reason === "malformed"]).toEqual([path, 403, true]);
  }
});

test("GHSA-4mq7-pvjg-xp2r, Oathkeeper: what is remembered of a caller is remembered with all that decided", async () => {
  const from = (origin: string, target = "/secrets/1/1/1") =>
    askFor(app, target, ["x-api-key", key, "origin", origin]);
  for (let time = 0; time < 3; time += 1) {
    expect(await from("https://maps.example.com")).toMatchObject({ status: 200 });
    expect(await from("https://evil.example")).toMatchObject(refused("origin"));
    expect(await from("https://maps.example.com", "/drafts/1/1/1")).toMatchObject(refused("dataset"));
    expect(await askFor(app, GOOD)).toMatchObject({ status: 200 });
    expect(await askFor(app, GOOD.replace("roads/", "secrets/"))).toMatchObject(refused("scope"));
  }
});

test("GHSA-vhr5-ggp3-qq85, Oathkeeper: a forwarding header that is off has no say", async () => {
  await using pinned = await startWithTiles({ FORWARD_AUTH_URI_HEADER: "X-Original-URI" });
  expect(await ask(pinned, ["X-Forwarded-Uri", GOOD])).toMatchObject(refused("malformed"));
  const forged = ["X-Forwarded-Uri", GOOD];
  expect(await ask(pinned, ["X-Original-URI", "/secrets/1/1/1", ...forged])).toMatchObject({ status: 401 });
});

test("GHSA-68wm-pfjf-wqp6, Authelia: a malformed URI is never a 2xx", async () => {
  const malformed = [
    "%",
    "/%",
    "?",
    "/?%",
    "*",
    "roads",
    "http://[::1",
    "/\u0001",
    "/roads/1/1/1?%&sig=%",
    " ",
    "/ü",
  ];
  for (const target of malformed) {
    const { status } = await askFor(app, Buffer.from(target).toString("latin1")).catch(() => ({
      status: 400,
    }));
    expect([target, status >= 400]).toEqual([target, true]);
  }
});

test("CVE-2026-25748, authentik: a credential that does not parse is refused, never anonymous", async () => {
  const malformed: RawHeaders[] = [
    ["authorization", "Bearer"],
    ["authorization", "Basic Og=="],
    ["authorization", ""],
    ["authorization", "\u00ff\u00fe"],
    ["x-api-key", ""],
    ["x-api-key", "tgk_"],
    ["cookie", "session=%", "authorization", "Bearer ..."],
  ];
  for (const headers of malformed) {
    expect(await askFor(app, "/roads/1/1/1", headers)).toMatchObject(refused("key"));
  }
  expect(await askFor(app, "/roads/1/1/1?key=")).toMatchObject(refused("malformed"));
});

test("CVE-2026-26205, OPA-Envoy: //host/path is no path of ours, and http://host/path neither", async () => {
  for (const target of [
    `//roads/1/1/1?${queryOf("roads")}`,
    `//evil.example${GOOD}`,
    `http://evil.example${GOOD}`,
  ]) {
    expect((await askFor(app, target)).status).toBe(403);
  }
});

test("CVE-2025-48865, Fabio: where a client had the proxy drop its header, nothing decides in its place", async () => {
  expect(await ask(app, ["connection", "X-Original-URI", "x-forwarded-method", "GET"])).toMatchObject(
    refused("malformed"),
  );
});

test("CVE-2019-9900, CVE-2019-9901, Envoy: of paths only plain characters are taken", async () => {
  // No client sends these as they are; a proxy that lets them through would.
  for (const character of [
    "\t",
    " ",
    '"',
    "<",
    "|",
    "^",
    "`",
    "{",
    "$",
    "@",
    ":",
    "*",
    "'",
    "(",
    "!",
    "+",
    "&",
    "=",
    "\u00e9",
  ]) {
    const { status } = await askFor(app, `/roads${character}/1/1/1?${queryOf("roads")}`);
    expect([character, status]).toEqual([character, 403]);
  }
});

test("GeoLens #1372: a parameter that is repeated, or has other capitals, is refused", async () => {
  const other = signatureOf("secrets", LIVE_EXP);
  for (const more of [
    "sig=",
    "exp=1",
    "scope=secrets",
    `sig=${other}`,
    "Sig=1",
    "EXP=1",
    "%73ig=1",
    "sig[]=1",
    "sco%70e=x",
  ]) {
    expect(await askFor(app, `${GOOD}&${more}`)).toMatchObject(refused("malformed"));
    expect(await askFor(app, GOOD.replace("?", `?${more}&`))).toMatchObject(refused("malformed"));
  }
});
