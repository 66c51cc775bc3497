import { createContextKey, type Interceptor } from "@connectrpc/connect";
import type { Caller } from "../domain/identity/principal.js";
import type { Caching } from "../front/answer-headers.js";
import type { Call } from "../front/call.js";
import { invalidRequest, requireStorableText, violationsOf } from "../schema/validate.js";

/** The call that a handler answers. */
export const callKey = createContextKey<Call | undefined>(undefined, { description: "call" });

/** Who makes the call. Set when it is admitted, before any handler runs. */
export const callerKey = createContextKey<Caller>([], { description: "caller" });

/** For how long caches may keep the answer to a GET. Set by a handler. */
export const cachingKey = createContextKey<Caching | undefined>(undefined, { description: "caching" });

/** Applies the schema's rules to unary requests. */
export const validationInterceptor: Interceptor = (next) => async (request) => {
  if (!request.stream) {
    const violations = violationsOf(request.method.input, request.message);
    if (violations.length > 0) throw invalidRequest(violations);
    requireStorableText(request.method.input, request.message);
  }
  return next(request);
};
