import http from "node:http";
import { connect as connectHttp2 } from "node:http2";
import https from "node:https";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { frame, headerBlock, uint32 } from "../bench/generator/http2.mjs";

/**
 * @typedef {{ port: number, tls: boolean }} Address Of a server on this machine.
 * @typedef {object} Call
 * @property {string} [method] Default: POST.
 * @property {string} path
 * @property {Record<string, string>} [headers]
 * @property {Buffer | string} [body]
 * @property {import("node:http").Agent} [agent] Default: a connection of its own.
 *
 * @typedef {{ status: number, body: Buffer, failure: string | undefined, milliseconds: number }} Answer Status 0: none, as
 *   `failure` says.
 */

export const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE] = [0, 1, 3, 4, 6, 7, 8];
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

const GIVE_UP_AFTER_MS = 20_000;

/** One that the server signed itself is good enough here. */
const TRUSTING = { rejectUnauthorized: false };

/** @param {Address} address @param {import("node:http").AgentOptions} options */
export const createAgent = ({ tls }, options) => new (tls ? https : http).Agent(options);

/** Over HTTP/1.1. Never rejects. @param {Address} address @param {Call} call @returns {Promise<Answer>} */
export function call({ port, tls }, { method = "POST", path, headers = {}, body = "", agent }) {
  const began = performance.now();
  const done = (/** @type {Partial<Answer>} */ answer) => ({
    status: 0,
    body: Buffer.alloc(0),
    failure: undefined,
    milliseconds: performance.now() - began,
    ...answer,
  });
  return new Promise((resolve) => {
    const failed = (/** @type {Error} */ error) =>
      resolve(done({ failure: String(Reflect.get(error, "code") ?? error.message) }));
    const request = (tls ? https : http).request(
      {
        ...TRUSTING,
        host: "127.0.0.1",
        port,
        method,
        path,
        agent: agent ?? false,
        headers: { ...headers, ...(method === "POST" && { "content-length": Buffer.byteLength(body) }) },
        signal: AbortSignal.timeout(GIVE_UP_AFTER_MS),
      },
      (response) => {
        /** @type {Buffer[]} */
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", failed);
        response.on("end", () => {
          resolve(done({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
          // As curl does it: who has an answer sends no more.
          if (!request.writableFinished) request.destroy();
        });
      },
    );
    request.on("error", failed);
    request.end(body);
  });
}

/** @param {Address} address @returns {import("node:http2").ClientHttp2Session} Errors are its streams'. */
export function openSession({ port, tls }) {
  const url = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
  // What waits to be sent counts: Node's client refuses its own streams above 10 MB.
  const session = connectHttp2(url, { ...TRUSTING, maxSessionMemory: 1_000 });
  session.on("error", () => {});
  return session;
}

/**
 * A gRPC call over such a session. Never rejects. The status is 200 where `grpc-status` is 0.
 * @param {import("node:http2").ClientHttp2Session} session @param {Call} call @returns {Promise<Answer>}
 */
export function callGrpc(session, { path, headers = {}, body = "" }) {
  const began = performance.now();
  return new Promise((resolve) => {
    let grpcStatus = "";
    /** @type {string | undefined} */
    let failure;
    /** @type {Buffer[]} */
    const chunks = [];
    const done = () => {
      clearTimeout(timer);
      resolve({
        status: grpcStatus === "" ? 0 : grpcStatus === "0" ? 200 : 400,
        body: Buffer.concat(chunks),
        failure: grpcStatus === "" ? (failure ?? "reset") : undefined,
        milliseconds: performance.now() - began,
      });
    };
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    if (session.destroyed || session.closed) {
      failure = "the connection was closed";
      done();
      return;
    }
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    const take = (/** @type {import("node:http2").IncomingHttpHeaders} */ received) => {
      grpcStatus = String(received["grpc-status"] ?? grpcStatus);
    };
    timer = setTimeout(() => stream.destroy(), GIVE_UP_AFTER_MS);
    stream.on("response", take);
    stream.on("trailers", take);
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("error", (error) => {
      failure = error.message;
    });
    // The server may have answered without having read all.
    stream.on("end", () => stream.close());
    stream.on("close", done);
    stream.end(body);
  });
}

/**
 * A connection for bytes of our own. It stays open on this side when the server ends its own. Errors are not told: it
 * closes.
 * @param {Address} address @param {"h2" | "http/1.1"} protocol For TLS to negotiate.
 */
export function openSocket({ port, tls }, protocol) {
  const to = { port, host: "127.0.0.1", allowHalfOpen: true };
  const socket = tls ? connectTls({ ...to, ...TRUSTING, ALPNProtocols: [protocol] }) : connect(to);
  socket.on("error", () => {});
  return socket;
}

/** The event after which bytes may be sent. @param {Address} address */
export const connectEvent = ({ tls }) => (tls ? "secureConnect" : "connect");

/** Resolves once bytes may be sent, or it is closed. @param {import("node:net").Socket} socket @param {Address} address */
export const connected = (socket, address) =>
  new Promise((resolve) => {
    socket.once("close", resolve);
    socket.once(connectEvent(address), resolve);
  });

/** @param {Readonly<Record<number, number>>} [settings] By identifier. */
export function preface(settings = {}) {
  const values = Object.entries(settings).map(([id, value]) => {
    const entry = Buffer.alloc(6);
    entry.writeUInt16BE(Number(id));
    entry.writeUInt32BE(value, 2);
    return entry;
  });
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    frame(SETTINGS, 0, 0, Buffer.concat(values)),
  ]);
}

/** SETTINGS_INITIAL_WINDOW_SIZE. */
export const INITIAL_WINDOW = 4;

/** @param {string} path @param {string} contentType @param {Readonly<Record<string, string>>} [headers] */
export const requestHeaders = (path, contentType, headers = {}) =>
  headerBlock(
    Object.entries({
      ":method": "POST",
      ":scheme": "http",
      ":authority": "tilegate.example.com",
      ":path": path,
      "content-type": contentType,
      ...headers,
    }),
  );

export { frame, uint32 };
