import { type DescFile, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import {
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
  ServerReflection as V1,
} from "../gen/proto/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../gen/proto/grpc/reflection/v1alpha/reflection_pb.js";

type Answer = MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"];

/**
 * Adds grpc.reflection.v1 and v1alpha, by which clients such as `buf curl` and grpcurl learn the schema. Lists the
 * given services and itself. A file comes with all that it imports, itself first. Errors are answers in the stream.
 */
export function registerReflection(router: ConnectRouter, services: readonly DescService[]): void {
  const listed = [...services, V1, V1Alpha];
  const index = indexFiles(listed.map((service) => service.file));

  async function* answerAll(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) {
      yield {
        validHost: request.host,
        originalRequest: request,
        messageResponse: answer(request.messageRequest),
      };
    }
  }

  function answer(request: ServerReflectionRequest["messageRequest"]): Answer {
    switch (request.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: listed.map((service) => ({ name: service.typeName })) },
        };
      case "fileByFilename":
        return fileAnswer(index.files.get(request.value));
      case "fileContainingSymbol":
        return fileAnswer(index.symbols.get(request.value));
      case "fileContainingExtension":
        return fileAnswer(
          index.extensions.get(request.value.containingType)?.get(request.value.extensionNumber),
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

  router.rpc(V1.method.serverReflectionInfo, answerAll);
  // The two versions differ in nothing but the package's name, which is not on the wire.
  const { input, output } = V1.method.serverReflectionInfo;
  router.rpc({ ...V1Alpha.method.serverReflectionInfo, input, output }, answerAll);
}

function fileAnswer(file: DescFile | undefined): Answer {
  if (!file) return errorAnswer(Code.NotFound, "unknown file, symbol or extension");
  return {
    case: "fileDescriptorResponse",
    value: {
      fileDescriptorProto: [...withImports([file])].map((each) =>
        toBinary(FileDescriptorProtoSchema, each.proto),
      ),
    },
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
