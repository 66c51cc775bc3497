import { isAscii } from "node:buffer";

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

/** Field 1, length-delimited, 36 bytes: how each id begins in the binary format. */
const ID_TAG = 0x0a;
const ID_LENGTH = 36;

/** The ids of a message in the binary format; undefined unless it is nothing but UUIDs in field 1. */
export function idsOfProto(message: Buffer): readonly string[] | undefined {
  const ids: string[] = [];
  for (let offset = 0; offset < message.length; offset += 2 + ID_LENGTH) {
    if (message[offset] !== ID_TAG || message[offset + 1] !== ID_LENGTH) return undefined;
    if (offset + 2 + ID_LENGTH > message.length) return undefined;
    ids.push(message.toString("latin1", offset + 2, offset + 2 + ID_LENGTH));
  }
  return ids;
}
