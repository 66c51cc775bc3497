import { once } from "node:events";
import { type AddressInfo, createServer as createTcpServer, isIPv6, type Socket } from "node:net";
import { createServer as createTlsServer, TLSSocket, type Server as TlsServer } from "node:tls";
import { createExchanges } from "./exchanges.js";
import { awaitFirstBytes } from "./first-bytes.js";
import { type HttpHandler, hasUsableAuthority } from "./http-handler.js";
import { createHttp1 } from "./http1.js";
import { createHttp2 } from "./http2.js";
import { type CallClass, defaultLimits, type ServerLimits } from "./limits.js";
import { receivedIsRead } from "./received.js";
import { refuseConnection } from "./refusals.js";

export interface ServerOptions {
  /** The address to listen on, such as `127.0.0.1`, `0.0.0.0` or `::`. */
  readonly host: string;
  /** 0 means any free port. */
  readonly port: number;
  /** PEM. With it the port speaks TLS only, and ALPN decides between HTTP/2 and HTTP/1.1. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** Answers every request, of either protocol. */
  readonly handler: HttpHandler;
  /** Default: {@link defaultLimits}, for each that is not given. */
  readonly limits?: Partial<ServerLimits>;
  /** What applies to some calls besides the limits, by path without query. Paths may share one. Default: none. */
  readonly classes?: ReadonlyMap<string, CallClass>;
  /** Gets failures that no client caused. Default: a process warning. */
  readonly onError?: (error: unknown) => void;
}

export interface RunningServer extends AsyncDisposable {
  /** Where clients on this machine reach it, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /**
   * Asks clients to take their next calls elsewhere (`Connection: close`, a GOAWAY that refuses nothing) while it still
   * serves. Before `close`, and once balancers have turned away, it keeps calls from meeting a closing connection.
   */
  leave(): void;
  /**
   * Stops accepting, lets calls in flight finish (`Connection: close`, GOAWAY), and closes connections that carry
   * none. What is left after `graceMs` milliseconds is destroyed. Resolves once every connection is gone. A second
   * call with a shorter grace shortens the first. Disposal closes without grace.
   */
  close(options: { readonly graceMs: number }): Promise<void>;
}

/** How long a connection that there is no room for may take to show its protocol, so that it can be told. */
const REFUSAL_WAIT_MS = 1_000;

/** So many of those may be waited for at once. Others are closed without a word. */
const MAX_REFUSALS = 256;

/**
 * Serves HTTP/1.1 and HTTP/2, and so gRPC, gRPC-Web, Connect and REST, on one port. In cleartext the first bytes of a
 * connection tell the protocol. Rejects if it can't listen.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { host, port, tls, classes = new Map() } = options;
  const { onError = (error) => process.emitWarning(String(error)) } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const handler = refuseThrown(options.handler, onError);
  const exchanges = createExchanges({ limits, classes });
  const http1 = createHttp1({ limits, exchanges, handler });
  const http2 = createHttp2({ limits, exchanges, handler });

  const sockets = new Set<Socket>();
  /** Connections that have not begun a request. */
  const silent = new Set<Socket>();
  /** Connections that there was no room for. */
  const refused = new Set<Socket>();
  let draining = false;

  // As node:http does it: a client may close its side once it has sent its request. Keep-alive probes find peers
  // that vanished during a long call.
  const tcp = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 };
  const listener = createTcpServer(tcp);
  listener.on("connection", (socket) => {
    const isRefused = sockets.size - refused.size >= limits.maxConnections;
    // A handshake would cost more than the connection.
    if (isRefused && (secure || refused.size >= MAX_REFUSALS)) {
      socket.destroy();
      return;
    }
    remember(sockets, socket);
    if (isRefused) refuse(socket);
    else if (secure) shakeHands(secure, socket);
    else receive(socket);
  });

  const secure =
    tls &&
    createTlsServer({
      ...tcp,
      ...tls,
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: limits.headersTimeoutMs,
    });
  secure?.on("secureConnection", (socket) => {
    socket.allowHalfOpen = tcp.allowHalfOpen;
    receive(socket);
  });
  secure?.on("tlsClientError", (_error, socket) => socket.destroy());

  function receive(socket: Socket) {
    socket.on("error", () => socket.destroy());
    if (draining) {
      socket.destroy();
    } else if (socket instanceof TLSSocket && socket.alpnProtocol === "h2") {
      http2.accept(socket);
    } else {
      const forget = remember(silent, socket);
      awaitFirstBytes(socket, limits.headersTimeoutMs, (protocol) => {
        forget();
        // Over TLS, HTTP/2 has to be negotiated.
        if (protocol === "http2" && !tls) http2.accept(socket);
        else http1.accept(socket);
      });
    }
  }

  function refuse(socket: Socket) {
    socket.on("error", () => socket.destroy());
    remember(refused, socket);
    awaitFirstBytes(socket, REFUSAL_WAIT_MS, (protocol) => refuseConnection(socket, protocol));
  }

  async function drain() {
    const closed = once(listener, "close");
    listener.close();
    const protocolsDrained = Promise.all([http1.drain(), http2.drain()]);
    await receivedIsRead();
    draining = true;
    for (const socket of silent) socket.destroy();
    // Before a TLS handshake.
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
    await protocolsDrained;
    await closed;
  }

  listener.listen({ host, port });
  await once(listener, "listening");
  listener.on("error", onError);

  /** Deadlines are kept by looking, once a second or more often where they are shorter, and not by a timer each. */
  const { headersTimeoutMs, requestTimeoutMs, answerTimeoutMs, idleTimeoutMs } = limits;
  const looking = setInterval(
    async () => {
      // After a while in which nothing could be read, clients must not be blamed for what they have sent meanwhile.
      await receivedIsRead();
      exchanges.look();
      http2.look();
    },
    Math.min(1_000, headersTimeoutMs, requestTimeoutMs, answerTimeoutMs, idleTimeoutMs),
  );
  looking.unref();

  let drained: Promise<void> | undefined;
  async function close({ graceMs }: { readonly graceMs: number }) {
    const deadline = setTimeout(async () => {
      http2.abort();
      await receivedIsRead();
      for (const socket of sockets) socket.destroy();
    }, graceMs);
    drained ??= drain();
    await drained;
    clearTimeout(deadline);
    clearInterval(looking);
  }

  const address = listener.address() as AddressInfo;
  return {
    url: `${tls ? "https" : "http"}://${reachableHost(host)}:${address.port}`,
    port: address.port,
    leave() {
      http1.leave();
      http2.leave();
    },
    close,
    [Symbol.asyncDispose]: () => close({ graceMs: 0 }),
  };
}

/** A client that closes its side before the handshake is done gets no answer, and so need not be waited for. */
function shakeHands(secure: TlsServer, socket: Socket) {
  socket.allowHalfOpen = false;
  secure.emit("connection", socket);
}

/** @returns What takes it out of the set, as its closing does. */
function remember(set: Set<Socket>, socket: Socket): () => void {
  const forget = () => {
    set.delete(socket);
    socket.off("close", forget);
  };
  set.add(socket);
  socket.once("close", forget);
  return forget;
}

/**
 * A handler that throws would end the process. Connect's throws for a request whose Host is missing (HTTP/1.0) or
 * does not parse, so any client could do it.
 */
function refuseThrown(handler: HttpHandler, onError: (error: unknown) => void): HttpHandler {
  return (request, response, exchange) => {
    try {
      handler(request, response, exchange);
    } catch (error) {
      const isClients = !hasUsableAuthority(request);
      if (!isClients) onError(error);
      if (!response.headersSent) response.writeHead(isClients ? 400 : 500);
      response.end();
    }
  };
}

function reachableHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "localhost";
  return isIPv6(host) ? `[${host}]` : host;
}
