import { createRegistry } from "@bufbuild/protobuf";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { DomainError } from "../domain/errors.js";
import { BadRequestSchema, ErrorInfoSchema } from "../gen/proto/google/rpc/error_details_pb.js";
import { acceptCompression } from "./compression.js";
import { toConnectError } from "./errors.js";

/** How connect-es begins the message of an error in decoding. */
const DECODING_FAILED = "parse binary: ";

/** Far more than an error of ours is, its details included. */
const ERROR_MAX_BYTES = 1024 * 1024;

/** What Connect answers in its own protocol. */
interface ConnectBody {
  readonly code?: string;
  readonly message?: string;
  readonly details?: unknown;
}

/**
 * Corrects what Connect answers before any interceptor runs: a message that can't be decoded is the client's fault in
 * binary as it is in JSON (400, not 500), what is invalid says so in the details of all that is, and a wrong method is
 * answered with those that are allowed. For gRPC, a malformed message stays INTERNAL, as its specification has it.
 */
export async function correctEarlyRefusal(
  response: UniversalServerResponse,
  { allowedMethods }: Pick<UniversalHandler, "allowedMethods">,
): Promise<UniversalServerResponse> {
  const isJson = response.header?.get("content-type") === "application/json";
  if (isJson && (response.status === 500 || response.status === 400)) return correctMalformed(response);
  if (response.status !== 405) return response;
  return { ...response, header: new Headers({ allow: allowedMethods.join(", ") }) };
}

async function correctMalformed(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  // From 1 KiB on Connect has compressed it for a client that accepts that.
  const encoding = response.header?.get("content-encoding");
  const compression = acceptCompression.find(({ name }) => name === encoding);
  const text = compression ? await compression.decompress(bytes, ERROR_MAX_BYTES) : bytes;
  const { code, message = "", details }: ConnectBody = JSON.parse(Buffer.from(text).toString());
  const isMalformed = message.startsWith(DECODING_FAILED) || code === INVALID_ARGUMENT;
  return isMalformed && details === undefined ? malformed(message) : { ...response, body: only(bytes) };
}

const INVALID_ARGUMENT = "invalid_argument";

const registry = createRegistry(BadRequestSchema, ErrorInfoSchema);

/** It quotes names that the client has made up, of any length. */
const MAX_DESCRIPTION_LENGTH = 300;

/** Of what Connect refuses by itself only its message tells where the fault is. */
function malformed(message: string): UniversalServerResponse {
  const violations = [{ field: "body", description: message.slice(0, MAX_DESCRIPTION_LENGTH) }];
  const error = new DomainError("invalid_argument", "MALFORMED_REQUEST", message, { violations });
  return {
    status: 400,
    header: new Headers({ "content-type": "application/json" }),
    body: only(Buffer.from(JSON.stringify(errorToJson(toConnectError(error), { registry })))),
  };
}

async function* only(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
