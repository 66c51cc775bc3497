import { createSecondMemo, type SecondMemoOptions } from "./second-memo.js";

/** Gives the same answer to the same question again, within a second and as long as nothing has changed. */
export interface AnswerMemo {
  recall(question: Buffer, now: Date): Buffer | undefined;
  /** Only what anybody may have who may ask. */
  remember(question: Buffer, answer: Buffer, now: Date): void;
}

/** Many people open the same map. 2 MB for these and their questions. */
const MAX_ANSWERS = 100;

interface Remembered {
  readonly question: Buffer;
  readonly answer: Buffer;
}

export function createAnswerMemo({ generation }: Pick<SecondMemoOptions, "generation">): AnswerMemo {
  const rememberedAt = createSecondMemo<Remembered>({ generation, maxEntries: MAX_ANSWERS });
  return {
    recall(question, now) {
      const known = rememberedAt(now).get(fingerprint(question));
      return known?.question.equals(question) ? known.answer : undefined;
    },
    remember(question, answer, now) {
      // A copy: what is received is a part of a larger buffer.
      rememberedAt(now).set(fingerprint(question), { question: Buffer.from(question), answer });
    },
  };
}

/** The length and the last id: hashing 2 kB takes longer than comparing them. */
const fingerprint = (question: Buffer): string =>
  question.length + question.toString("latin1", Math.max(0, question.length - 36));
