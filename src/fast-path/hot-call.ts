import type { Caller } from "../domain/identity/principal.js";
import type { Form } from "../schema/inspect.js";

/** A call that is answered past the framework. */
export interface HotCall {
  /** Whether such a caller may make it at all. @throws anything: then the plain path tells why. */
  permit(caller: Caller): void;
  /** Undefined as soon as anything is unusual about the message, or wrong. */
  read(form: Form, message: Buffer): Question | undefined;
}

/** What one message asks for. */
export interface Question {
  /** The answer, if it can be told without waiting. */
  answerNow(caller: Caller, now: Date): Answer | undefined;
  /** Whether `answer` would do, before anybody has waited for it. */
  isAnswerable(): boolean;
  /** @throws anything: then the plain path tells what is wrong. */
  answer(caller: Caller): Promise<Answer>;
}

export interface Answer {
  /** One character is one byte. */
  readonly message: string;
  /** Whether every caller gets the same one, in this second and as long as nothing changes. */
  readonly isForAll: boolean;
}
