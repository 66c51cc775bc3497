import type { Logger } from "pino";
import type { Credentials } from "../domain/identity/authenticator.js";
import type { Caller } from "../domain/identity/principal.js";
import type { TileTokens } from "../domain/tokens/tile-tokens.js";
import {
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  hasUsableAuthority,
} from "../server/http-handler.js";
import { type AuthenticationMemoOptions, createAuthenticationMemo } from "./authentication-memo.js";
import { binaryEncoding, type Encoding, geoLensEncoding, jsonEncoding } from "./encodings.js";
import { ENVELOPE_BYTES, idsOfJson, idsOfProto, unwrapEnvelope } from "./requests.js";

// The one hot call, a batch of tokens, past the framework: profiles showed that most of a call's time went into
// Connect's pipeline and reflection-driven encoding, for an answer that is the same for everybody within a second.
// docs/performance.md has the figures. The plain path is the reference: whatever is unusual about a request is left to it,
// and a property test holds the two equal.

export interface BatchFastPathOptions extends AuthenticationMemoOptions {
  readonly tileTokens: TileTokens;
  readonly log: Logger;
  /** Answers what this path doesn't. */
  readonly plain: HttpHandler;
}

/** 50 ids in JSON are 2 kB. Larger bodies are no usual ones. */
const MAX_BODY_BYTES = 8 * 1024;

const MAX_IDS = 50;

/** A protocol's way of asking and answering. */
interface Format {
  readonly encoding: Encoding;
  idsOf(body: Buffer): readonly string[] | undefined;
  send(response: HttpResponse, text: string): void;
}

export function createBatchFastPath(options: BatchFastPathOptions): HttpHandler {
  const { tileTokens, plain, log } = options;
  const memo = createAuthenticationMemo(options);
  const formatOf = createFormats();

  function answer(request: HttpRequest, response: HttpResponse, format: Format, body: Buffer): void {
    const ids = format.idsOf(body);
    if (ids === undefined || ids.length === 0 || ids.length > MAX_IDS || hasRepeated(ids)) {
      plain(request, response);
      return;
    }
    const credentials = credentialsOf(request);
    const known = memo.peek(credentials);
    if (known !== undefined) {
      answerTo(known, request, response, format, ids);
      return;
    }
    memo.resolve(credentials).then(
      (caller) => answerTo(caller, request, response, format, ids),
      // The plain path tells what is wrong.
      () => plain(request, response),
    );
  }

  function answerTo(
    caller: Caller,
    request: HttpRequest,
    response: HttpResponse,
    format: Format,
    ids: readonly string[],
  ): void {
    // An id in upper case or of an unknown dataset is not known either: what isn't canonical never gets further.
    const outcomes = tileTokens.batchNow(caller, ids);
    if (outcomes === undefined) {
      plain(request, response);
      return;
    }
    log.debug({ path: request.url, ids: ids.length }, "batch");
    format.send(response, format.encoding.encode(ids, outcomes));
  }

  return (request, response) => {
    // The plain path throws over a malformed Host: that must happen here, where the server catches it, and not later.
    const format = hasUsableAuthority(request) ? formatOf(request) : undefined;
    if (format === undefined) {
      plain(request, response);
      return;
    }
    readBody(request, (body, isWhole) => {
      restoreBody(request, body);
      if (isWhole) answer(request, response, format, body);
      else plain(request, response);
    });
  };
}

const RPC_PATH = "/tilegate.v1.TileTokenService/BatchGetTileTokens";
const REST_PATHS = new Set(["/api/tiles/tokens/", "/api/tiles/tokens", "/tiles/tokens/", "/tiles/tokens"]);

/** The format of a request that this path may answer: undefined as soon as anything is unusual about it. */
function createFormats(): (request: HttpRequest) => Format | undefined {
  const binary = binaryEncoding();
  const rest: Format = {
    encoding: geoLensEncoding(),
    idsOf: (body) => idsOfJson(body, ["dataset_ids"]),
    send: (response, text) => send(response, "application/json", Buffer.from(text, "utf8")),
  };
  const connectJson: Format = {
    encoding: jsonEncoding(),
    idsOf: (body) => idsOfJson(body, ["dataset_ids", "datasetIds"]),
    send: rest.send,
  };
  const connectProto: Format = {
    encoding: binary,
    idsOf: idsOfProto,
    send: (response, text) => send(response, "application/proto", Buffer.from(text, "latin1")),
  };
  const grpc: Format = {
    encoding: binary,
    idsOf(body) {
      const message = unwrapEnvelope(body);
      return message && idsOfProto(message);
    },
    send: sendGrpc,
  };

  return ({ method, url = "", headers, httpVersionMajor }) => {
    if (method !== "POST" || headers["content-encoding"] !== undefined) return undefined;
    if (Number(headers["content-length"] ?? 0) > MAX_BODY_BYTES) return undefined;
    const type = headers["content-type"];
    if (url !== RPC_PATH) return REST_PATHS.has(url) ? rest : undefined;
    switch (type) {
      case "application/json":
      case "application/proto": {
        // Deadlines are kept by being far sooner; malformed ones are refused by the plain path.
        const usual = /^1?$/.test(String(headers["connect-protocol-version"] ?? ""));
        const timed = /^\d{0,10}$/.test(String(headers["connect-timeout-ms"] ?? ""));
        if (!usual || !timed) return undefined;
        return type === "application/json" ? connectJson : connectProto;
      }
      case "application/grpc":
      case "application/grpc+proto": {
        const identity = (headers["grpc-encoding"] ?? "identity") === "identity";
        const timed = /^(\d{1,8}[HMSmun])?$/.test(String(headers["grpc-timeout"] ?? ""));
        return httpVersionMajor === 2 && identity && timed ? grpc : undefined;
      }
      default:
        return undefined;
    }
  };
}

function send(response: HttpResponse, contentType: string, body: Buffer): void {
  response.writeHead(200, { "content-type": contentType, "content-length": body.length });
  response.end(body);
}

function sendGrpc(response: HttpResponse, text: string): void {
  const body = Buffer.allocUnsafe(ENVELOPE_BYTES + text.length);
  body[0] = 0;
  body.writeUInt32BE(text.length, 1);
  body.write(text, ENVELOPE_BYTES, "latin1");
  response.writeHead(200, { "content-type": "application/grpc+proto" });
  response.addTrailers({ "grpc-status": "0" });
  response.end(body);
}

function credentialsOf({ headers }: HttpRequest): Credentials {
  return {
    authorization: headers.authorization,
    apiKey: headers["x-api-key"]?.toString(),
    source: { origin: headers.origin, referer: headers.referer, userAgent: headers["user-agent"] },
  };
}

const hasRepeated = (ids: readonly string[]): boolean => new Set(ids).size !== ids.length;

/** Reads the body up to the limit. A request that ends before its body does is never answered. */
function readBody(request: HttpRequest, done: (body: Buffer, isWhole: boolean) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  function take(chunk: Buffer) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_BODY_BYTES) finish(false);
  }
  const end = () => finish(true);
  function finish(isWhole: boolean) {
    request.off("data", take);
    request.off("end", end);
    if (!isWhole) request.pause();
    const [only] = chunks;
    done(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks), isWhole);
  }
  request.on("data", take);
  request.once("end", end);
}

/** Puts what was read in front of what is left to read, for whoever reads the request as an async iterable. */
function restoreBody(request: HttpRequest, body: Buffer): void {
  const rest = request.iterator.bind(request);
  async function* whole() {
    if (body.length > 0) yield body;
    if (!request.readableEnded) yield* rest({ destroyOnReturn: false });
  }
  Object.defineProperties(request, { iterator: { value: whole }, [Symbol.asyncIterator]: { value: whole } });
}
