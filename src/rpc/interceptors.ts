import { Code, ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { Caller } from "../domain/identity/principal.js";
import { invalidRequest, requireStorableText, violationsOf } from "../schema/validate.js";

export { invalidRequest };

/** Who makes the call. Set when it is admitted, before any handler runs. */
export const callerKey = createContextKey<Caller>([], { description: "caller" });

/** Applies the schema's rules to unary requests. */
export const validationInterceptor: Interceptor = (next) => async (request) => {
  if (!request.stream) {
    const violations = violationsOf(request.method.input, request.message);
    if (violations.length > 0) throw invalidRequest(violations);
    requireStorableText(request.method.input, request.message);
  }
  return next(request);
};

/** One debug line for each call: never a header, never a message, which may carry secrets. */
export function createLogInterceptor(log: Logger): Interceptor {
  return (next) => async (request) => {
    const rpc = `${request.service.typeName}/${request.method.name}`;
    const start = performance.now();
    const done = (code: string) =>
      log.debug({ rpc, code, durationMs: Math.round(performance.now() - start) }, "rpc");
    try {
      const response = await next(request);
      done("ok");
      return response;
    } catch (error) {
      done(error instanceof ConnectError ? Code[error.code] : "internal");
      throw error;
    }
  };
}
