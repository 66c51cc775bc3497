import { isUtf8 } from "node:buffer";
import { create, fromBinary, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { ApiKeyVerification } from "../domain/api-keys/verification.js";
import { requireManager } from "../domain/identity/management.js";
import {
  type VerifyApiKeyRequest,
  VerifyApiKeyRequestSchema,
  VerifyApiKeyResponseSchema,
} from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { toApiKeyRequest, toVerdict } from "../rpc/api-key-service.js";
import type { Form } from "../schema/inspect.js";
import { inspectMessage } from "../schema/inspect.js";
import { checked } from "../schema/validate.js";
import type { HotCall } from "./hot-call.js";

/** VerifyApiKey, which a gateway may ask for every tile. */
export function createVerifyCall(verification: ApiKeyVerification): HotCall {
  return {
    permit: requireManager,
    read(form, message) {
      const request = parse(form, message);
      if (request === undefined) return undefined;
      return {
        // Counting a use may take asking Redis.
        answerNow: () => undefined,
        isAnswerable: () => true,
        async answer(caller) {
          const verdict = await verification.verify(caller, request.token, toApiKeyRequest(request));
          const response = create(VerifyApiKeyResponseSchema, toVerdict(verdict));
          // Ids and times are ASCII, in JSON too.
          const message =
            form === "json"
              ? toJsonString(VerifyApiKeyResponseSchema, response)
              : Buffer.from(toBinary(VerifyApiKeyResponseSchema, response)).toString("latin1");
          return { message, isForAll: false };
        },
      };
    },
  };
}

/** It has 5 fields. */
const MAX_VALUES = 16;

/** Undefined for what is malformed or breaks the schema's rules. */
function parse(form: Form, message: Buffer): VerifyApiKeyRequest | undefined {
  const schema = VerifyApiKeyRequestSchema;
  if (inspectMessage(schema, form, message, MAX_VALUES) !== undefined) return undefined;
  try {
    if (form === "binary") return checked(schema, fromBinary(schema, message));
    return isUtf8(message) ? checked(schema, fromJsonString(schema, message.toString())) : undefined;
  } catch {
    return undefined;
  }
}
