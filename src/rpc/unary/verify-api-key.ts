import { isUtf8 } from "node:buffer";
import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import type { ApiKeyVerification } from "../../domain/api-keys/verification.js";
import {
  ApiKeyService,
  type VerifyApiKeyRequest,
  VerifyApiKeyRequestSchema,
  VerifyApiKeyResponseSchema,
} from "../../gen/proto/tilegate/v1/api_key_service_pb.js";
import type { Form } from "../../schema/inspect.js";
import { inspectMessage } from "../../schema/inspect.js";
import { checked } from "../../schema/validate.js";
import { toApiKeyRequest, toVerdict } from "../api-key-service.js";
import { createHotRpc, encode, type HotRpc } from "./codec.js";

/** VerifyApiKey, which a gateway may ask for every tile. */
export function createVerifyApiKey(verification: ApiKeyVerification): HotRpc {
  return createHotRpc(ApiKeyService.method.verifyApiKey, {
    read,
    call(caller, request, beforeWaiting) {
      // Counting a use may take asking Redis.
      beforeWaiting();
      return verification.verify(caller, request.token, toApiKeyRequest(request));
    },
    write: (form, verdict) => encode(form, VerifyApiKeyResponseSchema, toVerdict(verdict)),
  });
}

/** It has 6 fields. */
const MAX_VALUES = 16;

/** Undefined for what is malformed or breaks the schema's rules. */
function read(form: Form, message: Buffer): VerifyApiKeyRequest | undefined {
  const schema = VerifyApiKeyRequestSchema;
  if (inspectMessage(schema, form, message, MAX_VALUES) !== undefined) return undefined;
  try {
    if (form === "binary") return checked(schema, fromBinary(schema, message));
    return isUtf8(message) ? checked(schema, fromJsonString(schema, message.toString())) : undefined;
  } catch {
    return undefined;
  }
}
