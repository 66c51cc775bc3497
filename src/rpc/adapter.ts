import type { DescMethod } from "@bufbuild/protobuf";
import type { Violation } from "@bufbuild/protovalidate";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import { DomainError } from "../domain/errors.js";
import type { Caller } from "../domain/identity/principal.js";
import type { Call } from "../front/call.js";
import { bodyTooLarge, HEAD_BYTES, inflate } from "../front/inflate.js";
import { countItems, inspectMessage } from "../schema/inspect.js";
import { invalidRequest } from "../schema/validate.js";
import { setHeaders } from "../server/http-handler.js";
import { discardBody } from "../server/unread-body.js";
import { clampDeadline } from "./deadline.js";
import { correctEarlyRefusal } from "./early-refusals.js";
import { toPublicError } from "./errors.js";
import { cachingKey, callerKey, callKey } from "./interceptors.js";
import {
  asPost,
  ENVELOPE_BYTES,
  type Framing,
  framingOf,
  requireKnownEncoding,
  unwrap,
  unwrapHead,
  wrap,
} from "./message.js";
import type { RpcMethod } from "./methods.js";

/** Answers RPCs by Connect's own handlers. */
export interface RpcAdapter {
  answer(call: Call, rpc: RpcMethod): void;
  /** Tells the caller why there is no answer, in the words of the protocol that it spoke. */
  refuse(call: Call, rpc: RpcMethod, error: unknown): void;
}

/**
 * Serves Connect's handlers, each behind its rules: who calls, and whether such a caller may call this method at all, is
 * decided before a body is read; how long it may be, before it is inflated; and how much it may hold, before it is decoded.
 * What is refused there is told by the protocol's own handler, to which it is a body that can't be read.
 */
export function createRpcAdapter(handlers: readonly UniversalHandler[], log: Logger): RpcAdapter {
  const byMethod = new Map<DescMethod, UniversalHandler>(
    handlers.map((handler) => [handler.method, handler]),
  );

  function handlerOf({ method, name }: RpcMethod): UniversalHandler {
    const handler = byMethod.get(method);
    if (handler === undefined) throw new Error(`${name} has no handler`);
    return handler;
  }

  /** @param read Makes the message of an admitted call. What it throws is the answer. */
  async function respond(
    call: Call,
    rpc: RpcMethod,
    read: (sent: UniversalServerRequest, handler: UniversalHandler) => Admitted | undefined,
  ): Promise<UniversalServerResponse> {
    const handler = handlerOf(rpc);
    const contextValues = createContextValues().set(callKey, call);
    const sent = universalRequestFromNodeRequest(call.request, call.response, undefined, contextValues);
    clampDeadline(sent.header);
    const admitted = handler.allowedMethods.includes(sent.method) ? read(sent, handler) : undefined;
    if (admitted === undefined) return handler(sent);

    let refusal: unknown;
    async function* body(message: Admitted["message"]): AsyncIterable<Uint8Array> {
      try {
        yield await message();
      } catch (error) {
        refusal = error;
        throw toPublicError(error, { log, call, rpc: rpc.name });
      }
    }
    const { header, message } = admitted;
    const response = await handler({ ...sent, method: "POST", header, body: body(message) });
    discardBody(call.request, call.response);
    const caching = contextValues.get(cachingKey);
    if (caching !== undefined && sent.method === "GET" && response.status === 200) call.letKeep(caching);
    const isOverloaded = refusal instanceof DomainError && refusal.kind === "overloaded";
    // Connect has 429 for it, which says that it is the client who asks too often.
    return isOverloaded && response.status === 429 ? { ...response, status: 503 } : response;
  }

  function serve(call: Call, rpc: RpcMethod, responding: Promise<UniversalServerResponse>): void {
    responding
      .then((response) => correctEarlyRefusal(response, handlerOf(rpc)))
      .then((response) => {
        setHeaders(call.response, call.headers);
        return universalResponseToNodeResponse(noting(response, call), call.response);
      })
      .catch((err: unknown) => {
        // The client went away while it was answered.
        if (ConnectError.from(err).code === Code.Aborted) return;
        log.error({ rpc: rpc.name, err }, "unexpected error");
        call.request.destroy();
      });
  }

  return {
    answer: (call, rpc) =>
      serve(
        call,
        rpc,
        respond(call, rpc, (sent, handler) => admission(sent, call, handler, rpc)),
      ),
    refuse(call, rpc, error) {
      const message = async () => {
        throw error;
      };
      serve(
        call,
        rpc,
        respond(call, rpc, ({ header }) => ({ header: headersOf(header, framingOf(header)), message })),
      );
    },
  };
}

/** Notes how a call ended of which no error told: it is what the protocol says. */
function noting(response: UniversalServerResponse, call: Call): UniversalServerResponse {
  const { status, header, trailer, body } = response;
  const note = () => {
    const code = Number(trailer?.get("grpc-status") ?? header?.get("grpc-status") ?? 0);
    call.note(code !== 0 ? codeToString(code) : status === 200 ? "ok" : `http_${status}`);
  };
  if (body === undefined) {
    note();
    return response;
  }
  return { ...response, body: notingEnd(body, note) };
}

async function* notingEnd(body: AsyncIterable<Uint8Array>, note: () => void): AsyncIterable<Uint8Array> {
  yield* body;
  note();
}

/** A request that the protocol's handler may have. */
interface Admitted {
  readonly header: Headers;
  /** Its message, not compressed, once it is admitted. */
  message(): Promise<Buffer>;
}

/** Undefined for what the protocol's handler refuses by itself. */
function admission(
  sent: UniversalServerRequest,
  call: Call,
  handler: UniversalHandler,
  { permit, maxBytes, maxValues }: RpcMethod,
): Admitted | undefined {
  const posted = sent.method === "GET" ? asPost(sent) : undefined;
  if (sent.method === "GET" && posted === undefined) return undefined;
  const framing = framingOf(posted?.header ?? sent.header);
  const limit = framing.isEnveloped ? maxBytes + ENVELOPE_BYTES : maxBytes;

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

  async function message(): Promise<Buffer> {
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

  return { header: headersOf(posted?.header ?? sent.header, framing), message };
}

/** What is handed on has another length, and no encoding. */
function headersOf(sent: Headers, { isEnveloped }: Framing): Headers {
  const header = new Headers(sent);
  header.delete("content-length");
  if (!isEnveloped) header.delete("content-encoding");
  return header;
}

function refuse(problem: Violation | DomainError | undefined): void {
  if (problem === undefined) return;
  throw problem instanceof DomainError ? problem : invalidRequest([problem]);
}
