import { Code, ConnectError } from "@connectrpc/connect";
import { createFrameReader } from "./frame-reader.js";
import type { HttpRequest, HttpResponse } from "./http-handler.js";
import { frameHead, streamProtocolOf } from "./stream-protocol.js";

export interface MessageStreamOptions {
  /** Longer messages end the stream with RESOURCE_EXHAUSTED. */
  readonly maxMessageBytes: number;
  /**
   * Answers a message by one, in parts that are sent one after the other.
   * @throws ConnectError to end the stream with it.
   */
  readonly reply: (message: Buffer) => readonly Uint8Array[];
}

/**
 * Answers a stream of Protobuf messages, each by one and as they come, over gRPC, gRPC-Web or Connect. A client gets no
 * answer before it has read the one before, so that one who doesn't read makes us hold a single one.
 *
 * For what anybody may ask: Connect's pipeline takes four times as long, most of it for async iterables and their garbage.
 */
export function answerMessages(
  request: HttpRequest,
  response: HttpResponse,
  { maxMessageBytes, reply }: MessageStreamOptions,
): void {
  const protocol = streamProtocolOf(request);
  if (request.method !== "POST" || protocol === undefined) {
    if (request.method === "POST") response.writeHead(415);
    else response.writeHead(405, { allow: "POST" });
    response.end();
    request.resume();
    return;
  }
  const frames = createFrameReader(maxMessageBytes);

  function advance(): void {
    try {
      for (let message = frames.next(); message !== undefined; message = frames.next()) {
        if (!write(response, reply(message))) {
          request.pause();
          response.once("drain", advance);
          return;
        }
      }
      request.resume();
    } catch (error) {
      end(error instanceof ConnectError ? error : new ConnectError("internal error", Code.Internal));
    }
  }

  function take(chunk: Buffer): void {
    frames.push(chunk);
    advance();
  }

  function finish(): void {
    end(frames.isCut() ? new ConnectError("a message is cut off", Code.InvalidArgument) : undefined);
  }

  function end(error?: ConnectError): void {
    // The rest is read all the same: some clients read the answer only once they have sent everything.
    request.off("data", take).off("end", finish).resume();
    protocol?.end(response, error);
  }

  response.setHeader("content-type", protocol.contentType);
  response.setHeader(protocol.acceptHeader, IDENTITY);
  if ((request.headers[protocol.encodingHeader] ?? IDENTITY) === IDENTITY) {
    request.on("data", take);
    request.once("end", finish);
  } else {
    end(
      new ConnectError(`messages must not be compressed: only ${IDENTITY} is accepted`, Code.Unimplemented),
    );
  }
}

const IDENTITY = "identity";

/** Joins nothing: streams may share the parts. @returns Whether the client keeps up with what it is sent. */
function write(response: HttpResponse, parts: readonly Uint8Array[]): boolean {
  response.cork();
  let keepsUp = response.write(frameHead(0, parts));
  for (const part of parts) keepsUp = response.write(part);
  response.uncork();
  return keepsUp;
}
