import type { Call, CallKind } from "./call.js";

/** What a request is for: a method, a route, or nothing that there is. */
export interface Target {
  readonly kind: CallKind;
  /** Where a `key` counts like an `X-Api-Key`. Absent: in the query of the request, unless it is an RPC. */
  readonly query?: URLSearchParams;
  /** Every failure becomes an answer. */
  answer(call: Call): void;
}
