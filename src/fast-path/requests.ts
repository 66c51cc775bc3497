import { isAscii } from "node:buffer";
import { ID_BYTES, IdList, type IdListForm } from "./id-list.js";

const form = (head: string, between: string, tail: string): IdListForm => ({
  head: Buffer.from(head),
  between: Buffer.from(between),
  tail: Buffer.from(tail),
});

/** Field 1, length-delimited: how each id begins in the binary format. */
const ID_TAG = String.fromCharCode(0x0a, ID_BYTES);
const PROTO = form(ID_TAG, ID_TAG, "");

/** The ids of a message in the binary format; undefined unless it is nothing but texts of 36 bytes in field 1. */
export const idsOfProto = (message: Buffer): IdList | undefined => IdList.in(message, PROTO);

/** As most clients write it: browsers and Go, and Python. */
const jsonForms = (name: string): IdListForm[] => [
  form(`{"${name}":["`, '","', '"]}'),
  form(`{"${name}": ["`, '", "', '"]}'),
];

const isText = (value: unknown): value is string => typeof value === "string";

/**
 * @param names Of the message's only field.
 * @returns Reads the ids of a message in JSON; undefined if that is not what it is. What is no id may be given for one.
 */
export function createJsonIdsReader(...names: string[]): (message: Buffer) => IdList | undefined {
  const forms = names.flatMap(jsonForms);
  return (message) => {
    const text = withoutBlankEnd(message);
    for (const form of forms) {
      const ids = IdList.in(text, form);
      if (ids !== undefined) return ids;
    }
    const ids = fieldOfJson(text, ...names);
    return Array.isArray(ids) && ids.every(isText) ? IdList.of(ids) : undefined;
  };
}

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
