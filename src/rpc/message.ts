import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { invalid } from "../domain/errors.js";
import type { Form } from "../schema/inspect.js";

/** What the body of a request of one message is: the message itself, or the message in an envelope of flags and length. */
export interface Framing {
  readonly form: Form;
  /** How the message may be compressed, as its sender says. */
  readonly encoding: string;
  /** In which header an answer says what is accepted. */
  readonly acceptHeader: string;
  readonly isEnveloped: boolean;
}

/** Flags and length before a message of gRPC, gRPC-Web and Connect's streams. */
export const ENVELOPE_BYTES = 5;

const COMPRESSED = 1;

/** How the request says that its body is framed. What isn't spoken is told by nothing here: the protocol's handler does. */
export function framingOf(header: Headers): Framing {
  const contentType = header.get("content-type") ?? "";
  const isGrpc = contentType.startsWith("application/grpc");
  const isEnveloped = isGrpc || contentType.startsWith("application/connect+");
  const prefix = isGrpc ? "grpc-" : isEnveloped ? "connect-" : "";
  return {
    form: contentType.includes("json") ? "json" : "binary",
    encoding: header.get(isGrpc ? "grpc-encoding" : `${prefix}content-encoding`) ?? IDENTITY,
    acceptHeader: `${prefix}accept-encoding`,
    isEnveloped,
  };
}

const IDENTITY = "identity";
const GZIP = "gzip";

/** @throws ConnectError for an encoding other than gzip. */
export function requireKnownEncoding({ encoding, acceptHeader }: Framing): void {
  if (encoding === IDENTITY || encoding === GZIP) return;
  const message = `unknown compression "${encoding}": supported encodings are ${GZIP}`;
  throw new ConnectError(message, Code.Unimplemented, { [acceptHeader]: GZIP });
}

/** One message as it was sent. */
export interface Sent {
  readonly bytes: Buffer;
  /** By gzip. */
  readonly isCompressed: boolean;
}

/**
 * The only message in a body; undefined for what the protocol's handler refuses without decoding anything.
 * @throws ConnectError for a second message.
 */
export function unwrap(body: Buffer, { encoding, isEnveloped }: Framing): Sent | undefined {
  if (!isEnveloped) return { bytes: body, isCompressed: encoding === GZIP };
  if (body.length < ENVELOPE_BYTES) return undefined;
  const end = ENVELOPE_BYTES + body.readUInt32BE(1);
  if (body.length > end) {
    throw new ConnectError(
      "protocol error: received extra input message for unary method",
      Code.Unimplemented,
    );
  }
  const isCompressed = ((body[0] ?? 0) & COMPRESSED) !== 0;
  if (body.length < end || (isCompressed && encoding !== GZIP)) return undefined;
  return { bytes: body.subarray(ENVELOPE_BYTES), isCompressed };
}

/** The beginning of the message in the beginning of a body; undefined if it is compressed, which tells nothing. */
export function unwrapHead(head: Buffer, { encoding, isEnveloped }: Framing): Buffer | undefined {
  if (!isEnveloped) return encoding === GZIP ? undefined : head;
  return ((head[0] ?? 0) & COMPRESSED) === 0 ? head.subarray(ENVELOPE_BYTES) : undefined;
}

/** The message in an envelope, not compressed. */
export function wrap(message: Buffer): Buffer {
  const prefix = Buffer.alloc(ENVELOPE_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** What a Connect GET asks, as a POST would. */
export interface Posted {
  readonly header: Headers;
  /** @throws DomainError invalid_argument for what isn't base64. */
  message(): Buffer;
}

/** Undefined for a Connect GET whose parameters the protocol's handler refuses by itself. */
export function asPost({ url, header: sent }: UniversalServerRequest): Posted | undefined {
  const query = new URL(url).searchParams;
  const form = query.get("encoding");
  if (form !== "json" && form !== "proto") return undefined;
  const header = new Headers(sent);
  header.set("content-type", `application/${form}`);
  header.set("content-encoding", query.get("compression") || IDENTITY);
  // Caches that keep the answer would keep one for each list of encodings. They compress by themselves.
  header.delete("accept-encoding");
  const text = query.get("message") ?? "";
  return { header, message: () => (query.get("base64") === "1" ? decodeBase64(text) : Buffer.from(text)) };
}

function decodeBase64(text: string): Buffer {
  try {
    return Buffer.from(base64Decode(text));
  } catch {
    throw invalid("message", "is not valid base64");
  }
}
