import { type Violation, violationsToProto } from "@bufbuild/protovalidate";
import { Code, ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { Authenticator } from "../domain/identity/authenticator.js";
import type { Caller } from "../domain/identity/principal.js";
import { requireStorableText, violationsOf } from "../schema/validate.js";

/** Who makes the call. Set before any handler runs. */
export const callerKey = createContextKey<Caller>([], { description: "caller" });

/** The caller, where the credentials have been resolved before the call got here. */
export const resolvedCallerKey = createContextKey<Caller | undefined>(undefined, {
  description: "resolved caller",
});

/** Resolves the call's credentials; one that was sent and doesn't resolve fails the call. */
export function createAuthenticationInterceptor(authenticator: Authenticator): Interceptor {
  return (next) => async (request) => {
    const resolved = request.contextValues.get(resolvedCallerKey);
    if (resolved !== undefined) {
      request.contextValues.set(callerKey, resolved);
      return next(request);
    }
    const header = (name: string) => request.header.get(name) ?? undefined;
    const { caller } = await authenticator.authenticate({
      authorization: header("authorization"),
      apiKey: header("x-api-key"),
      source: { origin: header("origin"), referer: header("referer"), userAgent: header("user-agent") },
    });
    request.contextValues.set(callerKey, caller);
    return next(request);
  };
}

/** Applies the schema's rules to unary requests. */
export const validationInterceptor: Interceptor = (next) => async (request) => {
  if (!request.stream) {
    const violations = violationsOf(request.method.input, request.message);
    if (violations.length > 0) throw invalidRequest(violations);
    requireStorableText(request.method.input, request.message);
  }
  return next(request);
};

const NAMED_IN_MESSAGE = 10;

function invalidRequest(violations: Violation[]): ConnectError {
  const named = violations.slice(0, NAMED_IN_MESSAGE).map((v) => v.toString());
  const rest = violations.length - named.length;
  const message = named.join("; ") + (rest > 0 ? `; and ${rest} more` : "");
  const [value, desc] = violationsToProto(violations);
  // Two thirds of the size, and trailers are limited; `rule_id` says the same.
  for (const violation of value.violations) violation.rule = undefined;
  return new ConnectError(message, Code.InvalidArgument, undefined, [{ desc, value }]);
}

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
