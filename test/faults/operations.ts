import type { Headers, TestApp } from "../harness/app.js";
import type { SeededInstallation } from "./seeded-installation.js";

/** What a caller sees, in a word. Anything unexpected is told in full. */
export type Outcome = string;

/** A replica whose servers fail, and what it has, and has not, read before they did. */
export interface Replica {
  readonly app: TestApp;
  readonly installation: SeededInstallation;
  readonly warm: {
    readonly datasets: readonly string[];
    readonly privateDataset: string;
    readonly apiKey: Headers;
    /** Good for two uses a minute. */
    readonly limitedApiKey: Headers;
    /** Good for a thousand. */
    readonly countedApiKey: Headers;
    readonly serviceToken: Headers;
  };
  readonly cold: {
    /** Each once. */
    takeDataset(): string;
    readonly apiKey: Headers;
    readonly serviceToken: Headers;
  };
}

export const OPERATIONS = {
  "warm batch": ({ app, warm }) => batch(app, warm.datasets),
  "cold batch": ({ app, cold }) => batch(app, [cold.takeDataset(), cold.takeDataset()]),
  "half-warm batch": async ({ app, warm, cold }) => {
    const outcome = await batch(app, [...warm.datasets.slice(0, 1), cold.takeDataset()]);
    // What is known is served whatever becomes of the rest.
    return outcome === "served,unavailable" ? "unavailable" : outcome;
  },
  "cold token": ({ app, cold }) => token(app, cold.takeDataset()),
  "API key, warm": ({ app, warm }) => token(app, warm.privateDataset, warm.apiKey),
  "API key, cold": ({ app, warm, cold }) => token(app, warm.privateDataset, cold.apiKey),
  "service token, warm": ({ app, warm }) => token(app, warm.privateDataset, warm.serviceToken),
  "service token, cold": ({ app, warm, cold }) => token(app, warm.privateDataset, cold.serviceToken),
  "rate limit": async ({ app, warm }) => {
    const outcomes: Outcome[] = [];
    for (let use = 0; use < 4; use++)
      outcomes.push(await token(app, warm.privateDataset, warm.limitedApiKey));
    return outcomes.join() === "served,served,429,429" ? "served" : outcomes.join();
  },
  "management read": ({ app, warm }) => call(app, "/v1/api_keys", { headers: warm.serviceToken }),
  "management write": ({ app, warm }) =>
    call(app, "/v1/api_keys", { method: "POST", headers: warm.serviceToken }),
  readiness: ({ app }) => call(app, "/readyz"),
  liveness: ({ app }) => call(app, "/healthz"),
} satisfies Record<string, (replica: Replica) => Promise<Outcome>>;

export type Operation = keyof typeof OPERATIONS;

/** "served": a token for each; "unavailable": each has that typed error. */
async function batch(app: TestApp, ids: readonly string[]): Promise<Outcome> {
  const response = await app.fetch("/tilegate.v1.TileTokenService/BatchGetTileTokens", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ datasetIds: ids }),
  });
  if (response.status !== 200) return `${response.status} ${await response.text()}`;
  const { tokens } = (await response.json()) as {
    tokens: Record<string, { vector?: object; error?: { code: string } }>;
  };
  const outcomes = ids.map((id) => {
    const { vector, error } = tokens[id] ?? {};
    if (vector) return "served";
    return error?.code === "TILE_TOKEN_ERROR_CODE_UNAVAILABLE" ? "unavailable" : JSON.stringify(tokens[id]);
  });
  return [...new Set(outcomes)].join();
}

const token = (app: TestApp, id: string, headers: Headers = {}): Promise<Outcome> =>
  call(app, `/api/tiles/token/${id}/`, { headers });

/** "unavailable" only with a hint when to try again; "not ready" with the reasons. */
async function call(app: TestApp, path: string, init?: RequestInit): Promise<Outcome> {
  const response = await app.fetch(path, init);
  const text = await response.text();
  if (response.status === 200) return "served";
  if (response.status === 429) return "429";
  if (response.status !== 503) return `${response.status} ${text}`;
  if (path === "/readyz") return `not ready: ${JSON.parse(text).reasons}`;
  return response.headers.get("retry-after") === "1" ? "unavailable" : `503 without a hint: ${text}`;
}
