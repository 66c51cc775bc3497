import { execFileSync } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort } from "../../harness/ports.mjs";
import {
  redisProgram,
  type Server,
  serverDirectory,
  startRedis,
  startServer,
} from "../../harness/servers.mjs";
import { eventually } from "../harness/eventually.js";

/** Servers that belong together. */
export interface RedisServers extends AsyncDisposable {
  /** As REDIS_URL. */
  readonly url: string;
  readonly servers: readonly Server[];
}

const SLOTS = 16_384;

/** So many masters. The first, which clients of `url` ask first, has no slots; the others share them. */
export async function startCluster(size: number): Promise<RedisServers> {
  const busPorts: number[] = [];
  const servers: Server[] = [];
  for (let node = 0; node < size; node++) {
    const busPort = await freePort();
    busPorts.push(busPort);
    const args = ["--cluster-enabled", "yes", "--cluster-port", String(busPort)];
    servers.push(await startRedis({ args }));
  }
  const clients = servers.map(({ url }) => new Redis(url));
  for (const [node, client] of clients.entries()) {
    const [from, to] = [node - 1, node].map((share) => Math.ceil((share * SLOTS) / (size - 1)));
    if (node > 0) await client.call("CLUSTER", "ADDSLOTSRANGE", from ?? 0, (to ?? 0) - 1);
    await client.call("CLUSTER", "MEET", "127.0.0.1", servers[0]?.port ?? 0, busPorts[0] ?? 0);
  }
  const isWhole = async (client: Redis) => {
    const info = String(await client.call("CLUSTER", "INFO"));
    return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${size}`);
  };
  for (const client of clients) await eventually(() => isWhole(client), 60);
  for (const client of clients) client.disconnect();
  return together(`redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join()}`, servers);
}

/** A master (the first), a replica of it, and a sentinel that fails over half a second after the master is gone. */
export async function startSentinel(): Promise<RedisServers> {
  // Its replica need not wait for others that might come.
  const master = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
  const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(master.port)] });
  const client = new Redis(master.url);
  await eventually(async () => /slave0:.*state=online/.test(await client.info("replication")), 60);
  client.disconnect();

  const directory = await serverDirectory();
  const port = await freePort();
  const config = join(directory, "sentinel.conf");
  await writeFile(
    config,
    `port ${port}
bind 127.0.0.1
sentinel monitor tiles 127.0.0.1 ${master.port} 1
sentinel down-after-milliseconds tiles 500
sentinel failover-timeout tiles 1000
`,
  );
  // A sentinel keeps its state there.
  await chmod(config, 0o666);
  const sentinel = await startServer(
    {
      file: redisProgram(),
      args: [config, "--sentinel", "--dir", directory],
      readyMessage: "+monitor master",
      stopSignal: "SIGTERM",
    },
    { url: `redis://127.0.0.1:${port}`, port, directory },
  );
  const watch = new Redis(sentinel.url);
  const replicas = async () => String(await watch.call("SENTINEL", "REPLICAS", "tiles"));
  await eventually(async () => (await replicas()).includes(String(replica.port)), 60);
  watch.disconnect();
  return together(`redis+sentinel://127.0.0.1:${port}/tiles`, [master, replica, sentinel]);
}

/** One server that speaks TLS only, and the file with the authority that vouches for it. */
export async function startTlsRedis(): Promise<RedisServers & { readonly caFile: string }> {
  const directory = await serverDirectory();
  const [key, certificate] = [join(directory, "key.pem"), join(directory, "certificate.pem")];
  execFileSync("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
    ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
    ...["-keyout", key, "-out", certificate],
  ]);
  await chmod(key, 0o644);
  const port = await freePort();
  const tls = ["--tls-port", String(port), "--tls-cert-file", certificate, "--tls-key-file", key];
  const args = [...tls, "--tls-auth-clients", "no", "--port", "0", "--bind", "127.0.0.1", "--save", ""];
  const server = await startServer(
    {
      file: redisProgram(),
      args: [...args, "--tls-ca-cert-file", certificate, "--dir", directory],
      readyMessage: "Ready to accept connections",
      stopSignal: "SIGTERM",
    },
    { url: `rediss://localhost:${port}`, port, directory },
  );
  return { ...together(server.url, [server]), caFile: certificate };
}

const together = (url: string, servers: readonly Server[]): RedisServers => ({
  url,
  servers,
  async [Symbol.asyncDispose]() {
    for (const server of servers) await server[Symbol.asyncDispose]();
  },
});
