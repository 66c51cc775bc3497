import { request } from "node:http";
import { gunzipSync } from "node:zlib";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** As it was before any compression. */
  readonly body: Buffer;
}

/**
 * Sends a request over a connection of its own. Its target goes out as it is, which `fetch` wouldn't do: normalising is what most attacks are about.
 * @param url Of the server.
 */
export function ask(
  url: string,
  target: string,
  { method = "GET", headers = {} }: { method?: string; headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    request({ host: hostname, port, path: target, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("error", reject);
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        const sent = Buffer.concat(chunks);
        const isPacked = response.headers["content-encoding"] === "gzip" && sent.length > 0;
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: isPacked ? gunzipSync(sent) : sent,
        });
      });
    })
      .on("error", reject)
      .end();
  });
}
