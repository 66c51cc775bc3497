import type { Logger } from "pino";
import type { Caller } from "../domain/identity/principal.js";

/** What is told of a call once its answer is out. Never a header, never a message, which may carry secrets. */
export interface Observation {
  /** How the caller or this process named the call. */
  readonly requestId: string;
  readonly door: "rpc" | "rest";
  /** The RPC's or the route's name: one of a few, whatever was asked for. */
  readonly name: string;
  /** By the door's own: `not_found`, `404`. */
  readonly code: string;
  /** From the end of its headers to the end of its answer. */
  readonly durationMs: number;
  /** Absent: nobody asked who calls. */
  readonly caller: Caller | undefined;
}

/** Hears of each call once. */
export type Observer = (observation: Observation) => void;

/** One debug line for each call. */
export function createCallLog(log: Logger): Observer {
  return ({ requestId, door, name, code, durationMs, caller }) => {
    // Even what is not logged would be made.
    if (!log.isLevelEnabled("debug")) return;
    log.debug(
      { [door]: name, code, durationMs: Math.round(durationMs * 100) / 100, ...whoOf(caller), requestId },
      door,
    );
  };
}

/** The kinds of a call's credentials, and the accounts that they are of. */
function whoOf(caller: Caller | undefined) {
  if (caller === undefined) return undefined;
  const accounts = caller.flatMap((principal) =>
    principal.type === "operator" ? [] : [principal.accountId],
  );
  return {
    principal: caller.map(({ type }) => type).join("+") || "anonymous",
    ...(accounts.length > 0 && { account: [...new Set(accounts)].join("+") }),
  };
}
