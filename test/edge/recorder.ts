import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

/** A tile server that has everything, and tells what reached it. */
export interface Recorder extends AsyncDisposable {
  readonly url: string;
  readonly seen: { readonly target: string; readonly headers: IncomingHttpHeaders }[];
}

export async function startRecorder(): Promise<Recorder> {
  const seen: Recorder["seen"] = [];
  const server = createServer(({ url = "", headers }, response) => {
    seen.push({ target: url, headers });
    // As tile servers do; a page gets one answer to who may read it.
    response.writeHead(200, { "access-control-allow-origin": "*" }).end("a tile");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
