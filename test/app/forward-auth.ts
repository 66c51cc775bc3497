import { createHmac } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { NOW, SIGNING_KEY, startTestApp, type TestApp } from "../harness/app.js";
import { startWithDatasets } from "./token-doors.js";

export const startWithTiles = (env: Record<string, string> = {}): Promise<TestApp> =>
  startWithDatasets(env, startTestApp);

/** What forward auth answered. */
export interface AuthAnswer {
  readonly status: number;
  readonly reason: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Names and values in turn: as many of a name as one likes, in any spelling. */
export type RawHeaders = readonly string[];

/** Asks as a proxy does, with no header but Host that isn't given. */
export async function ask(app: TestApp, headers: RawHeaders, method = "GET"): Promise<AuthAnswer> {
  const { hostname, port } = new URL(app.url);
  const sent = request({
    ...{ host: hostname, port, method, path: "/auth/tiles", agent: false },
    headers: ["host", hostname, ...headers],
  });
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  const reason = response.headers["x-tilegate-reason"];
  return {
    status: response.statusCode ?? 0,
    reason: typeof reason === "string" ? reason : undefined,
    headers: response.headers,
    body: await text(response),
  };
}

/** The same for a request with this path and query, as nginx tells of it. */
export const askFor = (app: TestApp, target: string, headers: RawHeaders = []): Promise<AuthAnswer> =>
  ask(app, ["x-original-uri", target, ...headers]);

/** In 800 s. */
export const LIVE_EXP = NOW.getTime() / 1000 + 800;

export const signatureOf = (scope: string, exp: number, key = SIGNING_KEY): string =>
  createHmac("sha256", key).update(`${scope}:${exp}`).digest("hex");

/** A token's query. */
export const queryOf = (scope: string, exp = LIVE_EXP, sig = signatureOf(scope, exp)): string =>
  `sig=${sig}&exp=${exp}&scope=${encodeURIComponent(scope)}`;
