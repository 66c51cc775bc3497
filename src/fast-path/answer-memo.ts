import { createSecondMemo, type SecondMemoOptions } from "./second-memo.js";
import type { Body } from "./wire.js";

/** Gives the same answer to the same question again, within a second and as long as nothing has changed. */
export interface AnswerMemo {
  recall(question: Buffer, now: Date): Buffer | undefined;
  /** Only what anybody may have who may ask. Kept from the second time on: most questions come once. */
  remember(question: Buffer, answer: Body, now: Date): void;
}

/** Many people open the same map. 3 MB for these and their questions, at most. */
const MAX_ANSWERS = 200;

interface Remembered {
  readonly question: Buffer;
  readonly answer: Buffer;
}

export function createAnswerMemo({ generation }: Pick<SecondMemoOptions, "generation">): AnswerMemo {
  // Undefined for what was asked once.
  const rememberedAt = createSecondMemo<number, Remembered | undefined>({
    generation,
    maxEntries: MAX_ANSWERS,
  });
  return {
    recall(question, now) {
      const known = rememberedAt(now).get(fingerprint(question));
      return known?.question.equals(question) ? known.answer : undefined;
    },
    remember(question, answer, now) {
      const remembered = rememberedAt(now);
      const key = fingerprint(question);
      if (!remembered.has(key)) {
        remembered.set(key, undefined);
        return;
      }
      const bytes = typeof answer === "string" ? Buffer.from(answer, "latin1") : answer;
      // A copy: what is received is a part of a larger buffer.
      remembered.set(key, { question: Buffer.from(question), answer: bytes });
    },
  };
}

/** Tells questions apart by every seventh byte: hashing all would take longer than comparing them. */
function fingerprint(question: Buffer): number {
  let hash = question.length;
  for (let index = question.length - 1; index >= 0; index -= 7) {
    hash = (Math.imul(hash, 31) + (question[index] ?? 0)) | 0;
  }
  return hash;
}
