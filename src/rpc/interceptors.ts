import { type Violation, violationsToProto } from "@bufbuild/protovalidate";
import { Code, ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";
import type { Caller } from "../domain/identity/principal.js";
import type { Call } from "../front/call.js";
import { requireStorableText, violationsOf } from "../schema/validate.js";

/** The call that a handler answers. */
export const callKey = createContextKey<Call | undefined>(undefined, { description: "call" });

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

const NAMED_IN_MESSAGE = 10;

/** Names each field that breaks a rule. */
export function invalidRequest(violations: Violation[]): ConnectError {
  const named = violations.slice(0, NAMED_IN_MESSAGE).map((v) => v.toString());
  const rest = violations.length - named.length;
  const message = named.join("; ") + (rest > 0 ? `; and ${rest} more` : "");
  const [value, desc] = violationsToProto(violations);
  // Two thirds of the size, and trailers are limited; `rule_id` says the same.
  for (const violation of value.violations) violation.rule = undefined;
  return new ConnectError(message, Code.InvalidArgument, undefined, [{ desc, value }]);
}
