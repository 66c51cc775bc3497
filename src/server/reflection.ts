import {
  create,
  type DescFile,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  FileDescriptorResponseSchema,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
  ServerReflection as V1,
} from "../gen/proto/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../gen/proto/grpc/reflection/v1alpha/reflection_pb.js";
import type { HttpRequest, HttpResponse } from "./http-handler.js";
import type { CallClass } from "./limits.js";
import { answerMessages } from "./message-stream.js";

/** A symbol's name is the longest thing that anybody has to ask for. */
const REQUEST_MAX_BYTES = 4 * 1024;

/** `buf curl` and grpcurl ask a handful: for the services, a symbol, the files that it needs. */
const MAX_REQUESTS = 100;

/** For people at a debugger. */
export const REFLECTIONS: CallClass = { maxCalls: 16, maxCallsPerConnection: 2, isEndless: false };

/** A message, or fields of one, in parts. */
type Answer = readonly Uint8Array[];

export interface Reflection {
  /** Of the only method, in each version. */
  readonly paths: readonly string[];
  answer(request: HttpRequest, response: HttpResponse): void;
}

/**
 * Serves grpc.reflection.v1 and v1alpha, by which clients such as `buf curl` and grpcurl learn the schema: over gRPC,
 * gRPC-Web and Connect, in Protobuf. Lists the given services and itself. A file comes first, then all that it imports
 * and that this stream didn't have yet, as the protocol allows. Errors are answers in the stream, which ends with
 * RESOURCE_EXHAUSTED after 100 requests, and at one of more than 4 KiB.
 *
 * Anybody may ask, and 35 bytes are answered with 72 kB. So no answer is compressed: that would cost 10 times as much as
 * sending it.
 */
export function createReflection(services: readonly DescService[]): Reflection {
  const listed = [...services, V1, V1Alpha];
  const index = indexFiles(listed.map((service) => service.file));
  const service = listed.map(({ typeName }) => ({ name: typeName }));
  const serviceList = encodeAnswer({ case: "listServicesResponse", value: { service } });
  const encodeEntry = createEntryEncoder();

  function fileAnswer(file: DescFile | undefined, sent: Set<DescFile>): Answer {
    if (!file) return errorAnswer(Code.NotFound, "unknown file, symbol or extension");
    // The file itself in any case: clients take the first for what they asked for.
    const files = [...withImports([file])].filter((each) => each === file || !sent.has(each));
    for (const each of files) sent.add(each);
    const entries = files.map(encodeEntry);
    return [fileListHead(entries), ...entries];
  }

  function answer(request: ServerReflectionRequest["messageRequest"], sent: Set<DescFile>): Answer {
    switch (request.case) {
      case "listServices":
        return serviceList;
      case "fileByFilename":
        return fileAnswer(index.files.get(request.value), sent);
      case "fileContainingSymbol":
        return fileAnswer(index.symbols.get(request.value), sent);
      case "fileContainingExtension":
        return fileAnswer(
          index.extensions.get(request.value.containingType)?.get(request.value.extensionNumber),
          sent,
        );
      case "allExtensionNumbersOfType":
        return index.messages.has(request.value)
          ? encodeAnswer({
              case: "allExtensionNumbersResponse",
              value: {
                baseTypeName: request.value,
                extensionNumber: [...(index.extensions.get(request.value)?.keys() ?? [])],
              },
            })
          : errorAnswer(Code.NotFound, "unknown message type");
      default:
        return errorAnswer(Code.InvalidArgument, "empty request");
    }
  }

  /** Answers one stream. */
  function createReply(): (message: Uint8Array) => Answer {
    const sent = new Set<DescFile>();
    let count = 0;
    return (message) => {
      count += 1;
      if (count > MAX_REQUESTS) {
        throw new ConnectError(`a stream has ${MAX_REQUESTS} requests at most`, Code.ResourceExhausted);
      }
      const request = decode(message);
      const asked = { validHost: request.host, originalRequest: request };
      return [
        toBinary(ServerReflectionResponseSchema, create(ServerReflectionResponseSchema, asked)),
        ...answer(request.messageRequest, sent),
      ];
    };
  }

  return {
    // The two versions differ in nothing but the package's name, which is not on the wire.
    paths: [V1, V1Alpha].map(({ typeName, method }) => `/${typeName}/${method.serverReflectionInfo.name}`),
    answer(request, response) {
      answerMessages(request, response, { maxMessageBytes: REQUEST_MAX_BYTES, reply: createReply() });
    },
  };
}

function decode(message: Uint8Array): ServerReflectionRequest {
  try {
    return fromBinary(ServerReflectionRequestSchema, message);
  } catch {
    throw new ConnectError("malformed request", Code.InvalidArgument);
  }
}

function encodeAnswer(
  messageResponse: MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"],
): Answer {
  const response = create(ServerReflectionResponseSchema, { messageResponse });
  return [toBinary(ServerReflectionResponseSchema, response)];
}

function errorAnswer(errorCode: Code, errorMessage: string): Answer {
  return encodeAnswer({ case: "errorResponse", value: { errorCode, errorMessage } });
}

/**
 * Encodes each file once, when it is first asked for: that costs more than all the rest of an answer. All answers share the
 * bytes, so that a stream that isn't read holds none.
 * @returns A file as an entry of FileDescriptorResponse.
 */
function createEntryEncoder(): (file: DescFile) => Uint8Array {
  const encoded = new Map<DescFile, Uint8Array>();
  return (file) => {
    const bytes = encoded.get(file) ?? encodeFile(file);
    encoded.set(file, bytes);
    return bytes;
  };
}

function encodeFile({ proto }: DescFile): Uint8Array {
  const fileDescriptorProto = [toBinary(FileDescriptorProtoSchema, proto)];
  return toBinary(
    FileDescriptorResponseSchema,
    create(FileDescriptorResponseSchema, { fileDescriptorProto }),
  );
}

/** The tag and the length of a response's field that holds the entries. */
function fileListHead(entries: readonly Uint8Array[]): Uint8Array {
  const bytes = entries.reduce((sum, entry) => sum + entry.length, 0);
  const { number } = ServerReflectionResponseSchema.field.fileDescriptorResponse;
  return new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(bytes).finish();
}

/** The files and all that they import, each once. */
function withImports(files: Iterable<DescFile>): Set<DescFile> {
  const found = new Set(files);
  // A set's iteration also visits what is added meanwhile.
  for (const file of found) for (const imported of file.dependencies) found.add(imported);
  return found;
}

function indexFiles(roots: Iterable<DescFile>) {
  const files = new Map<string, DescFile>();
  /** By full name: types, services, methods, fields, enum values and extensions. */
  const symbols = new Map<string, DescFile>();
  const messages = new Set<string>();
  /** By the message that they extend, then by number. */
  const extensions = new Map<string, Map<number, DescFile>>();

  for (const file of withImports(roots)) {
    files.set(file.proto.name, file);
    for (const type of nestedTypes(file)) {
      symbols.set(type.typeName, file);
      if (type.kind === "message") {
        messages.add(type.typeName);
        for (const field of type.fields) symbols.set(`${type.typeName}.${field.name}`, file);
      } else if (type.kind === "service") {
        for (const method of type.methods) symbols.set(`${type.typeName}.${method.name}`, file);
      } else if (type.kind === "enum") {
        // As in C++, an enum's values belong to the scope around it.
        const scope = type.parent?.typeName ?? file.proto.package;
        for (const value of type.values) symbols.set(`${scope}.${value.name}`, file);
      } else {
        const extended = extensions.get(type.extendee.typeName) ?? new Map<number, DescFile>();
        extensions.set(type.extendee.typeName, extended.set(type.number, file));
      }
    }
  }
  return { files, symbols, messages, extensions };
}
