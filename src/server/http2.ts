import { constants, createServer, type ServerHttp2Session } from "node:http2";
import type { ProtocolOptions, ProtocolServer } from "./http1.js";
import { destroyAfterLinger } from "./linger.js";
import { receivedIsRead } from "./received.js";

export interface Http2Server extends ProtocolServer {
  /**
   * Ends all calls with GOAWAY and the connections after it. If a connection is merely reset, Node's client may never
   * learn that its call is over.
   */
  abort(): void;
}

/**
 * The highest stream that there can be: a GOAWAY with it refuses nothing, not even what the client has sent before it
 * knew (RFC 9113, 6.8).
 */
const LAST_STREAM_ID = 2 ** 31 - 1;

/**
 * HTTP/2, for gRPC and everything else. Floods of resets and pings are stopped by nghttp2 itself (1,000 resets in a
 * burst, then 33 a second; 1,000 unanswered pings), and memory per connection by Node (10 MB).
 */
export function createHttp2(options: ProtocolOptions): Http2Server {
  const { limits, handler } = options;
  const sessions = new Set<ServerHttp2Session>();
  let leaving = false;

  const server = createServer(
    {
      settings: {
        maxConcurrentStreams: limits.maxConcurrentStreams,
        maxHeaderListSize: limits.maxHeaderBytes,
        enablePush: false,
      },
      // Node's default of 1,000 is generous: a correct client sends none.
      maxSessionInvalidFrames: 100,
    },
    (request, response) => {
      if (headerListBytes(request.rawHeaders) <= limits.maxHeaderBytes) return handler(request, response);
      response.writeHead(431);
      response.end();
    },
  );

  server.on("session", (session) => {
    sessions.add(session);
    const settingsDeadline = setTimeout(() => session.destroy(), limits.headersTimeoutMs);
    session.once("remoteSettings", () => clearTimeout(settingsDeadline));

    // Pings do not count as use: a client that keeps an unused connection alive gets a GOAWAY all the same.
    let openStreams = 0;
    let isLeaving = false;
    const idle = setTimeout(() => {
      if (openStreams === 0) session.close();
    }, limits.idleTimeoutMs);

    session.on("stream", (stream) => {
      openStreams += 1;
      // At the beginning of a call, when the client waits: Node's client fails calls that it has begun and not sent.
      if (leaving && !isLeaving) {
        isLeaving = true;
        session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID);
      }
      const requestDeadline = setTimeout(() => {
        if (!stream.state.remoteClose) stream.close(constants.NGHTTP2_CANCEL);
      }, limits.requestTimeoutMs);
      stream.once("close", () => {
        clearTimeout(requestDeadline);
        openStreams -= 1;
        idle.refresh();
        // Node reads nothing more after a GOAWAY without calls.
        if (isLeaving && openStreams === 0) session.close();
      });
    });
    session.once("close", () => {
      sessions.delete(session);
      clearTimeout(settingsDeadline);
      clearTimeout(idle);
    });
  });

  return {
    accept(socket) {
      destroyAfterLinger(socket);
      server.emit("connection", socket);
    },
    leave() {
      leaving = true;
    },
    async drain() {
      await receivedIsRead();
      // GOAWAY; calls in flight finish, later ones on this connection are the client's to repeat elsewhere.
      for (const session of sessions) session.close();
    },
    abort() {
      for (const session of sessions) session.destroy();
    },
  };
}

/**
 * As RFC 9113 (6.5.2) counts. Node enforces maxHeaderListSize only once the client has acknowledged the settings,
 * which an attacker never does.
 */
function headerListBytes(rawHeaders: readonly string[]): number {
  let bytes = rawHeaders.length * 16;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}
