import { randomInt } from "node:crypto";

/** What stands before the first id of a message that is nothing but ids, between two, and after the last. */
export interface IdListForm {
  readonly head: Buffer;
  readonly between: Buffer;
  readonly tail: Buffer;
}

/** Of a UUID's text. */
export const ID_BYTES = 36;

const WORD_BYTES = 4;
const ID_WORDS = ID_BYTES / WORD_BYTES;

/** The first 8 digits and the last 12: of ids of every version, and of those that are counted up, one of these differs. */
const TELLING_WORDS = [0, 1, 6, 7, 8] as const;

/** A text of 36 bytes in words: to be told apart from another at once. */
export type IdWords = readonly number[];

/** So that nobody can choose ids whose hashes are the same. Odd: then none of their bits is lost. */
const FACTOR = 2 * randomInt(2 ** 30) + 1;

/**
 * The ids of a message where they stand in it. To make texts of 50 ids, hash and compare them takes longer than all the rest that
 * answering a known batch does.
 */
export class IdList {
  private readonly words: DataView;

  private constructor(
    private readonly message: Buffer,
    private readonly first: number,
    private readonly distance: number,
    readonly size: number,
  ) {
    this.words = new DataView(message.buffer, message.byteOffset, message.byteLength);
  }

  /** Undefined unless the message has exactly this form. Between its marks may stand anything. */
  static in(message: Buffer, { head, between, tail }: IdListForm): IdList | undefined {
    const distance = ID_BYTES + between.length;
    const size = (message.length - head.length - tail.length + between.length) / distance;
    if (size < 1 || !Number.isInteger(size)) return undefined;
    if (!isAt(message, 0, head) || !isAt(message, message.length - tail.length, tail)) return undefined;
    for (let index = 1; index < size; index += 1) {
      if (!isAt(message, head.length + index * distance - between.length, between)) return undefined;
    }
    return new IdList(message, head.length, distance, size);
  }

  private beginOf(index: number): number {
    return this.first + index * this.distance;
  }

  textAt(index: number): string {
    const begin = this.beginOf(index);
    return this.message.toString("latin1", begin, begin + ID_BYTES);
  }

  /** The same for the same id. Of two others it may be the same as well. */
  hashAt(index: number): number {
    const begin = this.beginOf(index);
    let hash = 0;
    for (const word of TELLING_WORDS) {
      hash = Math.imul(hash ^ this.words.getInt32(begin + word * WORD_BYTES), FACTOR);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  wordsAt(index: number): IdWords {
    const begin = this.beginOf(index);
    const words: number[] = [];
    for (let word = 0; word < ID_WORDS; word += 1) words.push(this.words.getInt32(begin + word * WORD_BYTES));
    return words;
  }

  isAt(index: number, words: IdWords): boolean {
    const begin = this.beginOf(index);
    for (let word = 0; word < ID_WORDS; word += 1) {
      if (this.words.getInt32(begin + word * WORD_BYTES) !== words[word]) return false;
    }
    return true;
  }
}

function isAt(message: Buffer, begin: number, part: Buffer): boolean {
  for (let index = 0; index < part.length; index += 1) {
    if (message[begin + index] !== part[index]) return false;
  }
  return true;
}
