import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Below the ports that systems give to outgoing connections and to servers that take any (Linux: from 32,768): nobody
 * gets one by chance before it is bound, nor while its server is down. Not even a client of that server, which might
 * otherwise connect to itself. Files of tests that run at the same time have ports of their own.
 */
const PORTS_PER_FILE = 4_000;
const firstPort = 15_000 + (Number(process.env.VITEST_POOL_ID ?? 0) % 4) * PORTS_PER_FILE;
let nextPort = randomInt(PORTS_PER_FILE);

/** A port of the loopback address that is free, and that this process is given only once. */
export async function freePort() {
  for (let tried = 0; tried < PORTS_PER_FILE; tried++) {
    const port = firstPort + (nextPort++ % PORTS_PER_FILE);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("no port is free");
}
