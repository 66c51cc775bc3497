import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** Balances TCP connections over those replicas that say they are ready, as a Service of Kubernetes does. */
export interface Balancer extends AsyncDisposable {
  readonly port: number;
  /** Addresses of the replicas; may change at any time. Connections that are open stay. */
  readonly replicas: Set<string>;
}

export async function startBalancer(): Promise<Balancer> {
  const replicas = new Set<string>();
  const sockets = new Set<Socket>();
  let next = 0;

  async function pickReady(): Promise<URL | undefined> {
    const urls = [...replicas];
    const first = next++ % urls.length;
    for (const url of [...urls.slice(first), ...urls.slice(0, first)]) {
      const isReady = await fetch(`${url}/readyz`, { headers: { connection: "close" } }).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isReady) return new URL(url);
    }
    return undefined;
  }

  const server = createServer(async (client) => {
    track(client);
    const replica = await pickReady();
    if (!replica) {
      client.destroy();
      return;
    }
    const upstream = track(connect(Number(replica.port), replica.hostname));
    client.pipe(upstream).pipe(client);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  });

  function track(socket: Socket): Socket {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    return socket.on("error", () => socket.destroy());
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    replicas,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
