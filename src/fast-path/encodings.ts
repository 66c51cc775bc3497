import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { TileToken, TileTokenRefusal } from "../domain/tile-tokens/tile-tokens.js";
import { BatchGetTileTokensResponseSchema } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";
import { toJson } from "../rest/geolens.js";
import { toResult } from "../rpc/tile-token-service.js";

type Outcome = TileToken | TileTokenRefusal;

/** How an answer is made of its entries: text of which one character is one byte. */
export interface Encoding {
  entryOf(id: string, outcome: Outcome): string;
  join(entries: readonly string[]): string;
}

/** What stands for the id in the entry of a refusal, which is the same for every dataset but for that. */
const PLACEHOLDER = "00000000-0000-0000-0000-000000000000";

/**
 * Encodes entries one by one, by the code that also encodes whole answers: an answer is the join of its entries in all
 * three formats. A token is the same for everybody within a second, so its entry is encoded once.
 */
function createEncoding(
  join: Encoding["join"],
  encodeEntry: (id: string, outcome: Outcome) => string,
): Encoding {
  const known = new WeakMap<Outcome, string>();
  return {
    entryOf(id, outcome) {
      const isRefusal = outcome.kind === "error";
      let entry = known.get(outcome);
      if (entry === undefined) {
        entry = encodeEntry(isRefusal ? PLACEHOLDER : id, outcome);
        known.set(outcome, entry);
      }
      return isRefusal ? entry.replace(PLACEHOLDER, id) : entry;
    },
    join,
  };
}

const response = (id: string, outcome: Outcome) =>
  create(BatchGetTileTokensResponseSchema, { tokens: { [id]: toResult(outcome) } });

/** Protobuf's binary format: entries of a map follow each other. */
export const binaryEncoding = (): Encoding =>
  createEncoding(
    (entries) => entries.join(""),
    (id, outcome) =>
      Buffer.from(toBinary(BatchGetTileTokensResponseSchema, response(id, outcome))).toString("latin1"),
  );

const BEFORE = '{"tokens":{';
const AFTER = "}}";

const createJsonEncoding = (encode: (id: string, outcome: Outcome) => string): Encoding =>
  createEncoding(
    (entries) => BEFORE + entries.join(",") + AFTER,
    (id, outcome) => toAscii(encode(id, outcome).slice(BEFORE.length, -AFTER.length)),
  );

export const jsonEncoding = (): Encoding =>
  createJsonEncoding((id, outcome) => toJsonString(BatchGetTileTokensResponseSchema, response(id, outcome)));

export const geoLensEncoding = (): Encoding =>
  createJsonEncoding((id, outcome) => JSON.stringify({ tokens: { [id]: toJson(outcome) } }));

/** Escapes the rest: then the text's length is that of its bytes. */
export const toAscii = (text: string): string =>
  text.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
