import type { Call, CallKind } from "./call.js";

/** What a request is for: a method, a route, or nothing that there is. */
export interface Target {
  readonly kind: CallKind;
  /** Every failure becomes an answer. */
  answer(call: Call): void;
}
