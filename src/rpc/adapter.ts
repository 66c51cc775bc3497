import type { Violation } from "@bufbuild/protovalidate";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { DomainError } from "../domain/errors.js";
import type { Caller } from "../domain/identity/principal.js";
import type { Call } from "../front/call.js";
import { bodyTooLarge, HEAD_BYTES, inflate } from "../front/inflate.js";
import { countItems, inspectMessage } from "../schema/inspect.js";
import { discardBody } from "../server/unread-body.js";
import { type Admission, admissionOf } from "./admission.js";
import { clampDeadline } from "./deadline.js";
import { correctEarlyRefusal } from "./early-refusals.js";
import { toPublicError } from "./errors.js";
import { callerKey, invalidRequest } from "./interceptors.js";
import {
  asPost,
  ENVELOPE_BYTES,
  framingOf,
  requireKnownEncoding,
  unwrap,
  unwrapHead,
  wrap,
} from "./message.js";

/** Answers RPCs. */
export interface RpcAdapter {
  /** Whether there is an RPC by this path. */
  has(path: string): boolean;
  answer(call: Call, path: string): void;
}

/**
 * Serves Connect's handlers, each behind its admission: who calls, and whether such a caller may call this method at all, is
 * decided before a body is read; how long it may be, before it is inflated; and how much it may hold, before it is decoded.
 * What is refused there is told by the protocol's own handler, to which it is a body that can't be read.
 */
export function createRpcAdapter(handlers: readonly UniversalHandler[], log: Logger): RpcAdapter {
  const byPath = new Map(
    handlers.map((handler) => [handler.requestPath, { handler, admission: admissionOf(handler.method) }]),
  );

  async function respond(
    call: Call,
    handler: UniversalHandler,
    admission: Admission,
  ): Promise<UniversalServerResponse> {
    const contextValues = createContextValues();
    const sent = universalRequestFromNodeRequest(call.request, call.response, undefined, contextValues);
    clampDeadline(sent.header);
    if (!handler.allowedMethods.includes(sent.method)) return handler(sent);

    let refusal: unknown;
    const refused = (error: unknown) => {
      refusal = error;
      const publicError = toPublicError(error, { log, rpc: rpcOf(handler) });
      log.debug({ rpc: rpcOf(handler), code: Code[publicError.code] }, "rpc");
      return publicError;
    };
    const response = await handler(admitted(sent, call, handler, admission, refused));
    discardBody(call.request, call.response);
    const isOverloaded = refusal instanceof DomainError && refusal.kind === "overloaded";
    // Connect has 429 for it, which says that it is the client who asks too often.
    return isOverloaded && response.status === 429 ? { ...response, status: 503 } : response;
  }

  return {
    has: (path) => byPath.has(path),
    answer(call, path) {
      const found = byPath.get(path);
      if (found === undefined) throw new Error(`there is no RPC ${path}`);
      const { handler, admission } = found;
      respond(call, handler, admission)
        .then((response) => correctEarlyRefusal(response, handler))
        .then((response) => universalResponseToNodeResponse(response, call.response))
        .catch((err: unknown) => {
          // The client went away while it was answered.
          if (ConnectError.from(err).code === Code.Aborted) return;
          log.error({ rpc: rpcOf(handler), err }, "unexpected error");
          call.request.destroy();
        });
    },
  };
}

const rpcOf = ({ requestPath }: UniversalHandler): string => requestPath.slice(1);

/** The same request with its message, not compressed, once it is admitted. Before, its body is a promise. */
function admitted(
  sent: UniversalServerRequest,
  call: Call,
  handler: UniversalHandler,
  { permit, maxBytes, maxValues }: Admission,
  refused: (error: unknown) => ConnectError,
): UniversalServerRequest {
  const posted = sent.method === "GET" ? asPost(sent) : undefined;
  if (sent.method === "GET" && posted === undefined) return sent;
  const header = new Headers(posted?.header ?? sent.header);
  const framing = framingOf(header);
  const limit = framing.isEnveloped ? maxBytes + ENVELOPE_BYTES : maxBytes;
  // What is handed on has another length, and no encoding.
  header.delete("content-length");
  if (!framing.isEnveloped) header.delete("content-encoding");

  async function permitted(): Promise<Caller> {
    if (permit === undefined) return [];
    const caller = await call.caller();
    permit(caller);
    return caller;
  }

  /** @throws if the beginning of a long message holds too much already. */
  function look(head: Buffer): void {
    refuse(countItems(handler.method.input, framing.form, head, maxValues));
  }

  async function read(hold: (bytes: number) => void): Promise<Buffer> {
    if (posted !== undefined) return posted.message();
    const isAnnounced = Number(sent.header.get("content-length") ?? 0) > limit;
    const isLong = limit > HEAD_BYTES + ENVELOPE_BYTES;
    if (isLong && !isAnnounced && (await call.body.whole(HEAD_BYTES, hold)) === undefined) {
      const head = unwrapHead(call.body.received(), framing);
      if (head !== undefined) look(head);
    }
    const body = isAnnounced ? undefined : await call.body.whole(limit, hold);
    if (body === undefined) throw bodyTooLarge(maxBytes);
    return body;
  }

  async function admit(): Promise<Buffer> {
    const caller = await permitted();
    requireKnownEncoding(framing);
    const needsPlace = permit !== undefined;
    if (needsPlace) call.enter(caller);
    const hold = (bytes: number) => {
      if (needsPlace) call.hold(bytes, caller);
    };
    const body = await read(hold);
    // Again: a body may take its time.
    sent.contextValues?.set(callerKey, await permitted());
    const message = unwrap(body, framing);
    if (message === undefined) return body;
    let { bytes } = message;
    if (message.isCompressed) {
      bytes = await inflate(bytes, { maxBytes, hold, look });
    }
    refuse(inspectMessage(handler.method.input, framing.form, bytes, maxValues));
    return framing.isEnveloped ? wrap(bytes) : bytes;
  }

  async function* body(): AsyncIterable<Uint8Array> {
    try {
      yield await admit();
    } catch (error) {
      throw refused(error);
    }
  }
  return { ...sent, method: "POST", header, body: body() };
}

function refuse(problem: Violation | DomainError | undefined): void {
  if (problem === undefined) return;
  throw problem instanceof DomainError ? problem : invalidRequest([problem]);
}
