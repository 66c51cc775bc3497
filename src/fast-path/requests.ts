import { isUtf8 } from "node:buffer";

/** The ids of a BatchGetTileTokensRequest in JSON; undefined unless it is just a list of texts. */
export function idsOfJson(body: Buffer, names: readonly string[]): readonly string[] | undefined {
  if (!isUtf8(body)) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString());
  } catch {
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  const [name = "", ...others] = Object.keys(parsed);
  if (others.length > 0 || !names.includes(name)) return undefined;
  const ids: unknown = Reflect.get(parsed, name);
  return Array.isArray(ids) && ids.every((id) => typeof id === "string") ? ids : undefined;
}

/** Field 1, length-delimited, 36 bytes: how each id begins in the binary format. */
const ID_TAG = 0x0a;
const ID_LENGTH = 36;

/** The ids of a BatchGetTileTokensRequest in the binary format; undefined unless it is just UUIDs. */
export function idsOfProto(body: Buffer): readonly string[] | undefined {
  const ids: string[] = [];
  for (let offset = 0; offset < body.length; offset += 2 + ID_LENGTH) {
    if (body[offset] !== ID_TAG || body[offset + 1] !== ID_LENGTH) return undefined;
    if (offset + 2 + ID_LENGTH > body.length) return undefined;
    ids.push(body.toString("latin1", offset + 2, offset + 2 + ID_LENGTH));
  }
  return ids;
}

/** Flags and length before a gRPC message. */
export const ENVELOPE_BYTES = 5;

/** The message of a gRPC request body; undefined unless it is exactly one, uncompressed. */
export function unwrapEnvelope(body: Buffer): Buffer | undefined {
  if (body.length < ENVELOPE_BYTES || body[0] !== 0) return undefined;
  if (body.readUInt32BE(1) !== body.length - ENVELOPE_BYTES) return undefined;
  return body.subarray(ENVELOPE_BYTES);
}
