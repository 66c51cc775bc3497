import { join } from "node:path";
import type { Config } from "../config/config.js";
import type { Secrets } from "../config/secrets.js";
import { FIRST_DATASET_ID } from "../demo/catalog.js";
import type { DemoCredentials } from "../demo/seed.js";

export interface GreetingOptions {
  readonly url: string;
  readonly config: Config;
  readonly secrets: Secrets;
  readonly dataDir: string;
  readonly demo: DemoCredentials | undefined;
}

/** What a newcomer needs, on standard output: never in the log. */
export function greeting({ url, config, secrets, dataDir, demo }: GreetingOptions): string {
  const insecure = config.server.tls ? " --insecure" : "";
  const lines = [
    "",
    `Tilegate listens on ${url}`,
    "",
    `  Operator token       ${secrets.operatorToken}`,
    ...(demo ? [`  Demo service token   ${demo.serviceToken}`] : []),
    ...(demo?.apiKey ? [`  Demo API key         ${demo.apiKey} (on pages of localhost)`] : []),
    `  Kept in              ${join(dataDir, "/")}`,
    "",
  ];
  if (demo) {
    const body = JSON.stringify({ dataset_ids: [FIRST_DATASET_ID.toUpperCase()] });
    lines.push(
      "Get a tile token:",
      "",
      `curl -s${insecure} ${url}/api/tiles/tokens/ -H 'Content-Type: application/json' -d '${body}'`,
      "",
    );
  }
  return `${lines.join("\n")}\n`;
}
