import type { Caller } from "../domain/identity/principal.js";
import type { Call } from "./call.js";

export interface Reception {
  /** Whether such a caller may make the call at all. @throws DomainError */
  permit(caller: Caller): void;
  /** Of a body. One that takes its time takes no place meanwhile: so only for bodies of a few kilobytes. */
  readonly maxBytes: number;
  /** @param body Undefined if it is longer: it can be read on. */
  done(caller: Caller, body: Buffer | undefined): void;
  /** Hears why the caller may not call, and that once. */
  refused(error: unknown): void;
  /** Hears what nobody else would: a defect. */
  failed(error: unknown): void;
}

/**
 * Decides who calls, reads the body, and decides again, since that may have taken its time: at once where nothing must be waited
 * for. Never calls back for a request that ends before its body does.
 */
export function receive(call: Call, reception: Reception): void {
  const { maxBytes, done } = reception;
  admit(call, reception, () =>
    call.body.read(maxBytes, (body) => admit(call, reception, (caller) => done(caller, body))),
  );
}

function admit(call: Call, { permit, refused, failed }: Reception, done: (caller: Caller) => void): void {
  const admitted = (caller: Caller) => {
    try {
      permit(caller);
    } catch (error) {
      return refused(error);
    }
    done(caller);
  };
  const caller = call.caller();
  if (caller instanceof Promise) caller.then(admitted, refused).catch(failed);
  else admitted(caller);
}
