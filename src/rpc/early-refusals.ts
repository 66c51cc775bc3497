import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { acceptCompression } from "./compression.js";

/** How connect-es begins the message of an error in decoding. */
const DECODING_FAILED = "parse binary: ";

/** Far more than an error of ours is, its details included. */
const ERROR_MAX_BYTES = 1024 * 1024;

/**
 * Corrects what Connect answers before any interceptor runs: a message that can't be decoded is the client's fault in
 * binary as it is in JSON (400, not 500), and a wrong method is answered with those that are allowed. For gRPC, a
 * malformed message stays INTERNAL, as its specification has it.
 */
export async function correctEarlyRefusal(
  response: UniversalServerResponse,
  { allowedMethods }: Pick<UniversalHandler, "allowedMethods">,
): Promise<UniversalServerResponse> {
  if (response.status === 500) return correctDecodingFailure(response);
  if (response.status !== 405) return response;
  return { ...response, header: new Headers({ allow: allowedMethods.join(", ") }) };
}

async function correctDecodingFailure(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  // From 1 KiB on Connect has compressed it for a client that accepts that.
  const encoding = response.header?.get("content-encoding");
  const compression = acceptCompression.find(({ name }) => name === encoding);
  const text = compression ? await compression.decompress(bytes, ERROR_MAX_BYTES) : bytes;
  const { message = "" }: { message?: string } = JSON.parse(Buffer.from(text).toString());
  if (message.startsWith(DECODING_FAILED)) return malformed(message);
  return { ...response, body: only(bytes) };
}

const malformed = (message: string): UniversalServerResponse => ({
  status: 400,
  header: new Headers({ "content-type": "application/json" }),
  body: only(Buffer.from(JSON.stringify({ code: "invalid_argument", message }))),
});

async function* only(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
