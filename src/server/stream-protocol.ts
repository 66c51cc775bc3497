import type { ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { HttpRequest, HttpResponse } from "./http-handler.js";

/**
 * One of the protocols for streams of Protobuf messages. They frame messages alike, and differ in how a stream ends. Here
 * nothing is compressed, in either direction.
 */
export interface StreamProtocol {
  /** Of the answer. */
  readonly contentType: string;
  /** The header by which a client says that it compresses, and the one that tells it how it may. */
  readonly encodingHeader: string;
  readonly acceptHeader: string;
  /** @param error Its message is ours: printable ASCII without `%`, which no protocol has to escape. */
  end(response: HttpResponse, error?: ConnectError): void;
}

/** Flags and length before a message. */
export const FRAME_HEAD_BYTES = 5;

/** Flags of the frames that end a stream. */
const GRPC_WEB_TRAILERS = 0x80;
const CONNECT_END = 2;

const OK = 0;

const grpc: StreamProtocol = {
  contentType: "application/grpc+proto",
  encodingHeader: "grpc-encoding",
  acceptHeader: "grpc-accept-encoding",
  end(response, error) {
    // Node.js sends no trailers after an answer without a body.
    if (!response.headersSent) response.writeHead(200);
    response.addTrailers(grpcStatus(error));
    response.end();
  },
};

const grpcWeb: StreamProtocol = {
  ...grpc,
  contentType: "application/grpc-web+proto",
  end(response, error) {
    const lines = Object.entries(grpcStatus(error)).map(([name, value]) => `${name}: ${value}\r\n`);
    response.end(endFrame(GRPC_WEB_TRAILERS, lines.join("")));
  },
};

const connect: StreamProtocol = {
  contentType: "application/connect+proto",
  encodingHeader: "connect-content-encoding",
  acceptHeader: "connect-accept-encoding",
  end(response, error) {
    const end = error && { error: { code: codeToString(error.code), message: error.rawMessage } };
    response.end(endFrame(CONNECT_END, JSON.stringify(end ?? {})));
  },
};

function grpcStatus(error: ConnectError | undefined): Record<string, string> {
  return {
    "grpc-status": String(error?.code ?? OK),
    ...(error && { "grpc-message": error.rawMessage }),
  };
}

const BY_CONTENT_TYPE = new Map([
  ["application/grpc", grpc],
  ["application/grpc+proto", grpc],
  ["application/grpc-web", grpcWeb],
  ["application/grpc-web+proto", grpcWeb],
  ["application/connect+proto", connect],
]);

/** Undefined for what isn't a stream of Protobuf messages. */
export function streamProtocolOf({ headers }: HttpRequest): StreamProtocol | undefined {
  return BY_CONTENT_TYPE.get(headers["content-type"]?.toLowerCase() ?? "");
}

/** What comes before a message, which may be in parts. */
export function frameHead(flags: number, parts: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length, 1);
  return head;
}

function endFrame(flags: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([frameHead(flags, [bytes]), bytes]);
}
