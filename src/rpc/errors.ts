import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { Logger } from "pino";
import { DomainError, type ErrorKind } from "../domain/errors.js";
import { RequestGone } from "../front/body.js";
import type { Call } from "../front/call.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../gen/proto/google/rpc/error_details_pb.js";
import { callKey } from "./interceptors.js";

const CODES: Record<ErrorKind, Code> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  overloaded: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
};

function toConnectError(error: DomainError): ConnectError {
  const metadata: Record<string, string> = error.field === undefined ? {} : { field: error.field };
  const connectError = new ConnectError(error.message, CODES[error.kind], undefined, [
    {
      desc: ErrorInfoSchema,
      value: create(ErrorInfoSchema, { reason: error.reason, domain: "tilegate", metadata }),
    },
  ]);
  // Over HTTP, Connect answers 401, which must say how to authenticate.
  if (error.kind === "unauthenticated") connectError.metadata.set("WWW-Authenticate", "Bearer");
  if (error.retryAfterSeconds !== undefined) {
    connectError.metadata.set("Retry-After", String(error.retryAfterSeconds));
    connectError.details.push({
      desc: RetryInfoSchema,
      value: create(RetryInfoSchema, { retryDelay: durationFromMs(error.retryAfterSeconds * 1000) }),
    });
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
