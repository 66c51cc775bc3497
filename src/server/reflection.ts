import { type DescFile, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter, type ConnectRouterOptions } from "@connectrpc/connect";
import {
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
  ServerReflection as V1,
} from "../gen/proto/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../gen/proto/grpc/reflection/v1alpha/reflection_pb.js";

/** A symbol's name is the longest thing that anybody has to ask for. */
const REQUEST_MAX_BYTES = 4 * 1024;

/** `buf curl` and grpcurl ask a handful: for the services, a symbol, the files that it needs. */
const MAX_REQUESTS = 100;

// Anybody may ask, and 35 bytes are answered with 72 kB: compressing the schema for a debugger costs 10 times as much as
// sending it. So no answer is long enough for that.
const options: Partial<ConnectRouterOptions> = {
  readMaxBytes: REQUEST_MAX_BYTES,
  compressMinBytes: 0xffffffff,
};

/** By both names of the service. */
export const REFLECTION_PATHS: readonly string[] = [V1, V1Alpha].map(
  ({ typeName, method }) => `/${typeName}/${method.serverReflectionInfo.name}`,
);

type Answer = MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"];

/**
 * Adds grpc.reflection.v1 and v1alpha, by which clients such as `buf curl` and grpcurl learn the schema. Lists the
 * given services and itself. A file comes first, then all that it imports and that this stream didn't have yet, as the
 * protocol allows. Errors are answers in the stream, which ends with RESOURCE_EXHAUSTED after 100 requests.
 */
export function registerReflection(router: ConnectRouter, services: readonly DescService[]): void {
  const listed = [...services, V1, V1Alpha];
  const index = indexFiles(listed.map((service) => service.file));

  const encode = createEncoder();

  async function* answerAll(requests: AsyncIterable<ServerReflectionRequest>) {
    const sent = new Set<DescFile>();
    let count = 0;
    for await (const request of requests) {
      count += 1;
      if (count > MAX_REQUESTS) {
        throw new ConnectError(`a stream has ${MAX_REQUESTS} requests at most`, Code.ResourceExhausted);
      }
      yield {
        validHost: request.host,
        originalRequest: request,
        messageResponse: answer(request.messageRequest, sent),
      };
    }
  }

  function fileAnswer(file: DescFile | undefined, sent: Set<DescFile>): Answer {
    if (!file) return errorAnswer(Code.NotFound, "unknown file, symbol or extension");
    // The file itself in any case: clients take the first for what they asked for.
    const files = [...withImports([file])].filter((each) => each === file || !sent.has(each));
    for (const each of files) sent.add(each);
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto: files.map(encode) } };
  }

  function answer(request: ServerReflectionRequest["messageRequest"], sent: Set<DescFile>): Answer {
    switch (request.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: listed.map((service) => ({ name: service.typeName })) },
        };
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
          ? {
              case: "allExtensionNumbersResponse",
              value: {
                baseTypeName: request.value,
                extensionNumber: [...(index.extensions.get(request.value)?.keys() ?? [])],
              },
            }
          : errorAnswer(Code.NotFound, "unknown message type");
      default:
        return errorAnswer(Code.InvalidArgument, "empty request");
    }
  }

  router.rpc(V1.method.serverReflectionInfo, answerAll, options);
  // The two versions differ in nothing but the package's name, which is not on the wire.
  const { input, output } = V1.method.serverReflectionInfo;
  router.rpc({ ...V1Alpha.method.serverReflectionInfo, input, output }, answerAll, options);
}

/** Encodes each file once, when it is first asked for: that costs more than all the rest of an answer. */
function createEncoder(): (file: DescFile) => Uint8Array {
  const encoded = new Map<DescFile, Uint8Array>();
  return (file) => {
    const bytes = encoded.get(file) ?? toBinary(FileDescriptorProtoSchema, file.proto);
    encoded.set(file, bytes);
    return bytes;
  };
}

function errorAnswer(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
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
