import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { decideAccess, isOpen } from "../domain/access/access.js";
import type { TileToken, TileTokens } from "../domain/tile-tokens/tile-tokens.js";
import { isCanonicalUuid } from "../domain/uuid.js";
import { GetTileTokenResponseSchema } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";
import { toToken } from "../rpc/tile-token-service.js";
import type { Form } from "../schema/inspect.js";
import { toAscii } from "./encodings.js";
import type { HotCall } from "./hot-call.js";
import { fieldOfJson, idsOfProto } from "./requests.js";

/** GetTileToken. */
export function createSingleCall(tileTokens: TileTokens): HotCall {
  return {
    permit: () => {},
    read(form, message) {
      const id = idOf(form, message);
      if (id === undefined) return undefined;
      return {
        answerNow(caller) {
          const known = tileTokens.peek(id);
          if (known === undefined || decideAccess(known.dataset, caller) !== "granted") return undefined;
          return { message: encode(form, known.token()), isForAll: isOpen(known.dataset) };
        },
        isAnswerable: () => true,
        async answer(caller) {
          return { message: encode(form, await tileTokens.get(caller, id)), isForAll: false };
        },
      };
    },
  };
}

function idOf(form: Form, message: Buffer): string | undefined {
  const id = form === "json" ? fieldOfJson(message, "dataset_id", "datasetId") : idOfProto(message);
  return typeof id === "string" && isCanonicalUuid(id) ? id : undefined;
}

function idOfProto(message: Buffer): string | undefined {
  const ids = idsOfProto(message);
  return ids?.size === 1 ? ids.textAt(0) : undefined;
}

function encode(form: Form, token: TileToken): string {
  const response = create(GetTileTokenResponseSchema, { token: toToken(token) });
  return form === "json"
    ? toAscii(toJsonString(GetTileTokenResponseSchema, response))
    : Buffer.from(toBinary(GetTileTokenResponseSchema, response)).toString("latin1");
}
