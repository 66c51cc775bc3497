import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { Logger } from "pino";
import { DomainError, type ErrorKind, type FieldViolation } from "../domain/errors.js";
import { RequestGone } from "../front/body.js";
import type { Call } from "../front/call.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../gen/proto/google/rpc/error_details_pb.js";
import { callKey } from "./interceptors.js";

/** By kind of failure. docs/errors.md lists them. */
export const CODES: Readonly<Record<ErrorKind, Code>> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  overloaded: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
};

/** gRPC clients refuse trailers of more than 8 KiB: this leaves room for base64, and for the message, which is there twice. */
const VIOLATIONS_BYTES = 3_000;

/** What a violation's lengths and tags take. */
const VIOLATION_OVERHEAD_BYTES = 12;

/** The first ones, as many as an answer has room for. */
function withinTrailers(violations: readonly FieldViolation[]): readonly FieldViolation[] {
  let bytes = 0;
  const end = violations.findIndex(({ field, description, rule = "" }) => {
    bytes += Buffer.byteLength(field + description + rule) + VIOLATION_OVERHEAD_BYTES;
    return bytes > VIOLATIONS_BYTES;
  });
  return end === -1 ? violations : violations.slice(0, Math.max(end, 1));
}

const detail = <Schema extends DescMessage>(desc: Schema, init: MessageInitShape<Schema>) => ({
  desc,
  value: create(desc, init),
});

/** How a failure travels, in every protocol. */
export function toConnectError(error: DomainError): ConnectError {
  const metadata: Record<string, string> = error.field === undefined ? {} : { field: error.field };
  const connectError = new ConnectError(error.message, CODES[error.kind], undefined, [
    detail(ErrorInfoSchema, { reason: error.reason, domain: "tilegate", metadata }),
  ]);
  if (error.violations.length > 0) {
    const fieldViolations = withinTrailers(error.violations).map(({ field, description, rule }) => ({
      field,
      description,
      reason: rule,
    }));
    connectError.details.push(detail(BadRequestSchema, { fieldViolations }));
  }
  // Over HTTP, Connect answers 401, which must say how to authenticate.
  if (error.kind === "unauthenticated") connectError.metadata.set("WWW-Authenticate", "Bearer");
  if (error.retryAfterSeconds !== undefined) {
    connectError.metadata.set("Retry-After", String(error.retryAfterSeconds));
    const retryDelay = durationFromMs(error.retryAfterSeconds * 1000);
    connectError.details.push(detail(RetryInfoSchema, { retryDelay }));
  }
  return connectError;
}

/** Where a failure is told of. */
export interface Failing {
  readonly log: Logger;
  readonly rpc: string;
  readonly call: Pick<Call, "note"> | undefined;
}

/**
 * The one place where failures become RPC errors. What has no public message becomes "internal error", and is logged whole,
 * once: Connect itself would log it nowhere.
 */
export function toPublicError(error: unknown, { log, rpc, call }: Failing): ConnectError {
  const publicError = translate(error);
  call?.note(codeToString(publicError.code));
  return publicError;

  function translate(error: unknown): ConnectError {
    if (error instanceof ConnectError) return error;
    if (error instanceof RequestGone) return new ConnectError(error.message, Code.Canceled);
    if (error instanceof DomainError) {
      if (error.kind === "unavailable") log.warn({ rpc, err: error.cause }, error.message);
      return toConnectError(error);
    }
    log.error({ rpc, err: error }, "unexpected error");
    return new ConnectError("internal error", Code.Internal);
  }
}

export function createErrorInterceptor(log: Logger): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (error) {
      const isUnexpected = !(error instanceof ConnectError || error instanceof DomainError);
      const isOver = isUnexpected && request.signal.aborted;
      const cause = isOver ? ConnectError.from(request.signal.reason, Code.Canceled) : error;
      const rpc = `${request.service.typeName}/${request.method.name}`;
      throw toPublicError(cause, { log, rpc, call: request.contextValues.get(callKey) });
    }
  };
}
