import { createSecondMemo, type SecondMemoOptions } from "../domain/second-memo.js";

/** Gives the same answer to the same question again, within a second and as long as nothing has changed. */
export interface AnswerMemo {
  recall(question: Buffer, now: Date): Buffer | undefined;
  /**
   * Only what anybody may have who may ask. Kept from the second time on: most questions come once.
   * @param answer One character a byte.
   */
  remember(question: Buffer, answer: string, now: Date): void;
}

/** Many people open the same map. An answer to 50 datasets is 11 kB and its question 2 kB: some 300 of these. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Questions that came once are small: so many of them are 1 MB. */
const MAX_ANSWERS = 10_000;

/** Of an entry and its two buffers, by measuring 5,000 of them. */
const ENTRY_BYTES = 600;

/** Of a question that came once. */
const ONCE_BYTES = 100;

interface Remembered {
  readonly route: number;
  readonly question: Uint8Array;
  readonly answer: Buffer;
}

/** Makes memos, one for each route, that have their bounds together: however many routes there are, it stays at 4 MB. */
export function createAnswerMemos({ generation }: Pick<SecondMemoOptions, "generation">): () => AnswerMemo {
  // Undefined for what was asked once.
  const rememberedAt = createSecondMemo<number, Remembered | undefined>({
    generation,
    maxEntries: MAX_ANSWERS,
    maxBytes: MAX_BYTES,
    whenFull: "stop",
    sizeOf: (_key, known) =>
      known === undefined ? ONCE_BYTES : ENTRY_BYTES + known.question.length + known.answer.length,
  });
  let routes = 0;
  return () => {
    const route = ++routes;
    return {
      recall(question, now) {
        const known = rememberedAt(now).get(fingerprint(question, route));
        return known?.route === route && question.equals(known.question) ? known.answer : undefined;
      },
      remember(question, answer, now) {
        const remembered = rememberedAt(now);
        if (!remembered.hasRoom()) return;
        const key = fingerprint(question, route);
        if (!remembered.has(key)) {
          remembered.set(key, undefined);
          return;
        }
        // Copies, of their own memory: what is received is a part of a larger buffer, and small buffers share one. A text would
        // be encoded again for each who asks.
        const own = Buffer.allocUnsafeSlow(answer.length);
        own.write(answer, "latin1");
        remembered.set(key, { route, question: new Uint8Array(question), answer: own });
      },
    };
  };
}

/** Tells questions apart by every seventh byte: hashing all would take longer than comparing them. */
function fingerprint(question: Buffer, route: number): number {
  let hash = question.length + route;
  for (let index = question.length - 1; index >= 0; index -= 7) {
    hash = (Math.imul(hash, 31) + (question[index] ?? 0)) | 0;
  }
  return hash;
}
