import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { freePort } from "../../harness/ports.mjs";

/** A TCP proxy of the loopback address in front of a server that is to fail. Begins by passing everything on. */
export interface FaultProxy extends AsyncDisposable {
  /** The server's URL, through this proxy. */
  readonly url: string;
  /** Ends any fault: what was held goes on, what is refused is accepted again. */
  pass(): Promise<void>;
  /** Breaks all connections and refuses new ones. */
  refuse(): Promise<void>;
  /** Accepts connections, and passes nothing on in either direction. */
  hang(): void;
  /** The same for the connections that there are. New ones are passed on. */
  strand(): void;
  /** Passes everything on so many milliseconds late, in each direction. */
  slow(milliseconds: number): void;
  /** Breaks all connections. New ones are passed on. */
  cut(): void;
}

interface Link {
  readonly client: Socket;
  server?: Socket;
}

/** @param url of a server on the loopback address, with its port. */
export async function startFaultProxy(url: string): Promise<FaultProxy> {
  const target = Number(new URL(url).port);
  const links = new Set<Link>();
  let delayMs = 0;
  let hanging = false;

  function forward(from: Socket, to: Socket): void {
    let due = 0;
    from.on("data", (chunk) => {
      const now = performance.now();
      due = Math.max(due, now + delayMs);
      // The delay is the fault.
      if (due <= now) to.write(chunk);
      else setTimeout(() => to.write(chunk), due - now);
    });
    from.on("close", () => to.destroy());
    from.on("error", () => to.destroy());
  }

  function open(link: Link): void {
    link.server = connect(target, "127.0.0.1");
    forward(link.client, link.server);
    forward(link.server, link.client);
  }

  const listener = createServer((client) => {
    const link: Link = { client };
    links.add(link);
    client.on("close", () => links.delete(link)).on("error", () => client.destroy());
    if (hanging) client.pause();
    else open(link);
  });
  const port = await freePort();
  await listen(listener, port);

  const cut = () => {
    for (const { client } of links) client.destroy();
  };
  const strand = () => {
    for (const { client, server } of links) {
      client.pause();
      server?.pause();
    }
  };
  const proxied = new URL(url);
  proxied.port = String(port);
  return {
    url: proxied.href,
    async pass() {
      delayMs = 0;
      hanging = false;
      for (const link of links) {
        link.client.resume();
        if (link.server) link.server.resume();
        else open(link);
      }
      if (!listener.listening) await listen(listener, port);
    },
    async refuse() {
      cut();
      if (listener.listening) await close(listener);
    },
    hang() {
      hanging = true;
      strand();
    },
    strand,
    slow(milliseconds) {
      delayMs = milliseconds;
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      if (listener.listening) await close(listener);
    },
  };
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  await closed;
}
