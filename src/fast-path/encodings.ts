import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { TileToken, TileTokenRefusal } from "../domain/tokens/tile-tokens.js";
import { BatchGetTileTokensResponseSchema } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";
import { toJson } from "../rest/geolens.js";
import { toResult } from "../rpc/tile-token-service.js";

type Outcome = TileToken | TileTokenRefusal;

/** How an answer is made of its entries. Text in `charset`: one character is one byte, or UTF-8. */
export interface Encoding {
  readonly charset: "utf8" | "latin1";
  encode(ids: readonly string[], outcomes: readonly Outcome[]): string;
}

/** What stands for the id in the entry of a refusal, which is the same for every dataset but for that. */
const PLACEHOLDER = "00000000-0000-0000-0000-000000000000";

/**
 * Joins entries that were encoded one by one, by the code that also encodes whole answers: an answer is the join of its
 * entries in all three formats. A token's entry is the same for everybody within a second, so it is encoded once.
 */
function createEncoding(
  charset: Encoding["charset"],
  { before, between, after }: { before: string; between: string; after: string },
  encodeEntry: (id: string, outcome: Outcome) => string,
): Encoding {
  const entries = new WeakMap<Outcome, string>();

  function entryOf(id: string, outcome: Outcome): string {
    const known = entries.get(outcome);
    const isRefusal = outcome.kind === "error";
    const entry = known ?? encodeEntry(isRefusal ? PLACEHOLDER : id, outcome);
    if (known === undefined) entries.set(outcome, entry);
    return isRefusal ? entry.replace(PLACEHOLDER, id) : entry;
  }

  return {
    charset,
    encode(ids, outcomes) {
      let text = before;
      for (const [index, id] of ids.entries()) {
        const outcome = outcomes[index];
        if (outcome === undefined) continue;
        if (index > 0) text += between;
        text += entryOf(id, outcome);
      }
      return text + after;
    },
  };
}

const response = (id: string, outcome: Outcome) =>
  create(BatchGetTileTokensResponseSchema, { tokens: { [id]: toResult(outcome) } });

/** Protobuf's binary format: entries of a map follow each other. */
export const binaryEncoding = (): Encoding =>
  createEncoding("latin1", { before: "", between: "", after: "" }, (id, outcome) =>
    Buffer.from(toBinary(BatchGetTileTokensResponseSchema, response(id, outcome))).toString("latin1"),
  );

const OBJECT = { before: '{"tokens":{', between: ",", after: "}}" };

export const jsonEncoding = (): Encoding =>
  createEncoding("utf8", OBJECT, (id, outcome) =>
    toJsonString(BatchGetTileTokensResponseSchema, response(id, outcome)).slice(
      OBJECT.before.length,
      -OBJECT.after.length,
    ),
  );

export const geoLensEncoding = (): Encoding =>
  createEncoding("utf8", OBJECT, (id, outcome) => JSON.stringify({ [id]: toJson(outcome) }).slice(1, -1));
