import type { Form } from "../../schema/inspect.js";
import { endWith, type HttpRequest, type HttpResponse, writeHead } from "../../server/http-handler.js";
import { connectTimeoutMs, grpcTimeoutMs } from "../deadline.js";

/** A usual request's protocol. */
export interface Wire {
  readonly form: Form;
  /** The message in a request's body; undefined unless it is exactly one. */
  unwrap(body: Buffer): Buffer | undefined;
  /** One character a byte, so ASCII in JSON. */
  wrap(message: string): string;
  /** @param headers Of the answer: what is added is. */
  send(response: HttpResponse, headers: string[], body: Body): void;
}

/** Of an answer. One character of a text is one byte: Node.js sends a text along with the headers, and no buffer is made of it. */
export type Body = Buffer | string;

/** Longer than storage may take, so that a client's deadline from here on needs nobody to keep it. The framework keeps others. */
const LONGEST_WAIT_MS = 10_000;

/** The protocol of a POST to an RPC: undefined as soon as anything is unusual about it. */
export function wireOf({ headers, httpVersionMajor }: HttpRequest): Wire | undefined {
  switch (headers["content-type"]) {
    case "application/json":
    case "application/proto":
      // Absent is usual, and a malformed one is refused by the framework.
      if ((headers["connect-protocol-version"] ?? "1") !== "1") return undefined;
      if (!isLong(headers["connect-timeout-ms"], connectTimeoutMs)) return undefined;
      return headers["content-type"] === "application/json" ? json : proto;
    case "application/grpc":
    case "application/grpc+proto":
      if ((headers["grpc-encoding"] ?? "identity") !== "identity" || httpVersionMajor !== 2) return undefined;
      return isLong(headers["grpc-timeout"], grpcTimeoutMs) ? grpc : undefined;
    default:
      return undefined;
  }
}

const isLong = (timeout: string | string[] | undefined, toMs: (text: string) => number): boolean =>
  timeout === undefined || (typeof timeout === "string" && toMs(timeout) >= LONGEST_WAIT_MS);

const createPlainWire = (form: Form, contentType: string): Wire => ({
  form,
  unwrap: (body) => body,
  wrap: (message) => message,
  send(response, headers, body) {
    headers.push("content-type", contentType, "content-length", String(body.length));
    writeHead(response, 200, headers);
    endWith(response, body);
  },
});

const json = createPlainWire("json", "application/json");
const proto = createPlainWire("binary", "application/proto");

/** Flags and length before a gRPC message. */
const ENVELOPE_BYTES = 5;

const grpc: Wire = {
  form: "binary",
  unwrap(body) {
    if (body.length < ENVELOPE_BYTES || body[0] !== 0) return undefined;
    if (body.readUInt32BE(1) !== body.length - ENVELOPE_BYTES) return undefined;
    return body.subarray(ENVELOPE_BYTES);
  },
  wrap(message) {
    const { length } = message;
    const envelope = String.fromCharCode(
      0,
      length >>> 24,
      (length >>> 16) & 255,
      (length >>> 8) & 255,
      length & 255,
    );
    return envelope + message;
  },
  send(response, headers, body) {
    headers.push("content-type", "application/grpc+proto");
    // No client of gRPC asks for it, and each header of HTTP/2 costs microseconds.
    response.sendDate = false;
    writeHead(response, 200, headers);
    response.addTrailers({ "grpc-status": "0" });
    endWith(response, body);
  },
};

export const WIRES: readonly Wire[] = [json, proto, grpc];
