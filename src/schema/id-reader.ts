import { isAscii } from "node:buffer";
import { isCanonicalUuid } from "../domain/uuid.js";
import { ID_BYTES, IdList, type IdListForm, type IdWords } from "./id-list.js";

const form = (head: string, between: string, tail: string): IdListForm => ({
  head: Buffer.from(head),
  between: Buffer.from(between),
  tail: Buffer.from(tail),
});

/** Field 1, length-delimited: how each id begins in the binary format. */
const ID_TAG = String.fromCharCode(0x0a, ID_BYTES);
const PROTO = form(ID_TAG, ID_TAG, "");

/** As most clients write it: browsers and Go, and Python. */
const jsonForms = (name: string): IdListForm[] => [
  form(`{"${name}":["`, '","', '"]}'),
  form(`{"${name}": ["`, '", "', '"]}'),
];

/**
 * Reads messages that are nothing but ids, or one. Undefined is no refusal: whatever is unusual about a message, or wrong, is left
 * to the reader of all messages.
 */
export interface IdReader {
  /** The ids of a message in the binary format, in field 1. */
  ofProto(message: Buffer): readonly string[] | undefined;
  /** A reader of messages in JSON whose only field, a list, has any of these names. */
  listOfJson(...names: string[]): (message: Buffer) => readonly string[] | undefined;
}

/** Of an id that was read, 250 bytes: 2 MB in all. Whoever sends others makes them be read anew, for a microsecond each. */
const MAX_KNOWN = 8_000;

interface KnownId {
  readonly words: IdWords;
  readonly text: string;
}

/** A reader that finds the texts of ids that it has read before by their bytes. */
export function createIdReader(): IdReader {
  const known = new Map<number, KnownId>();

  /** Undefined unless all are canonical. */
  function textsOf(ids: IdList): readonly string[] | undefined {
    const texts: string[] = [];
    for (let index = 0; index < ids.size; index += 1) {
      const hash = ids.hashAt(index);
      const before = known.get(hash);
      const id = before !== undefined && ids.isAt(index, before.words) ? before : learn(hash, ids, index);
      if (id === undefined) return undefined;
      texts.push(id.text);
    }
    return texts;
  }

  function learn(hash: number, ids: IdList, index: number): KnownId | undefined {
    const text = ids.textAt(index);
    if (!isCanonicalUuid(text)) return undefined;
    if (known.size >= MAX_KNOWN) known.clear();
    const id = { words: ids.wordsAt(index), text };
    known.set(hash, id);
    return id;
  }

  return {
    ofProto(message) {
      const ids = IdList.in(message, PROTO);
      return ids && textsOf(ids);
    },
    listOfJson(...names) {
      const forms = names.flatMap(jsonForms);
      return (message) => {
        const text = withoutBlankEnd(message);
        for (const each of forms) {
          const ids = IdList.in(text, each);
          if (ids !== undefined) return textsOf(ids);
        }
        const ids = fieldOfJson(text, ...names);
        return Array.isArray(ids) && ids.length > 0 && ids.every(isId) ? ids : undefined;
      };
    },
  };
}

const isId = (value: unknown): value is string => typeof value === "string" && isCanonicalUuid(value);

const COLON = 0x3a;

/** The value of the only field of a message in JSON, by any of its names; undefined if that is not what it is. */
export function fieldOfJson(message: Buffer, ...names: string[]): unknown {
  // Usual names and ids are ASCII. One member has one colon; a second one may be the same again, of which no program may read just
  // either.
  if (!isAscii(message) || message.indexOf(COLON) !== message.lastIndexOf(COLON)) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(message.toString("latin1"));
  } catch {
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  const [name = "", ...others] = Object.keys(parsed);
  return others.length === 0 && names.includes(name) ? Reflect.get(parsed, name) : undefined;
}

/** What JSON takes for white space (RFC 8259, 2). */
const BLANKS = new Set(Buffer.from(" \t\r\n"));

function withoutBlankEnd(message: Buffer): Buffer {
  let end = message.length;
  while (BLANKS.has(message[end - 1] ?? 0)) end -= 1;
  return end === message.length ? message : message.subarray(0, end);
}
