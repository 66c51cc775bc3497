// Prints a Protobuf file descriptor as .proto source: no package ships buf/validate/validate.proto,
// but @bufbuild/protovalidate exports its descriptor. The rules' own expressions are left out: compilers
// need the shape only, and at run time generated code imports the descriptor of a protovalidate package.
import { isFieldSet } from "@bufbuild/protobuf";
import {
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";

const inOneof = (field) => isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex);
const typeName = (field) => field.typeName || Type[field.type].toLowerCase();
const label = (field) => (inOneof(field) ? "" : `${Label[field.label].toLowerCase()} `);
const fieldLine = (field) => `${label(field)}${typeName(field)} ${field.name} = ${field.number};`;

function* message(proto) {
  yield `message ${proto.name} {`;
  for (const nested of proto.nestedType) yield* message(nested);
  for (const nested of proto.enumType) yield* enumeration(nested);
  yield* extensions(proto.extension);
  for (const field of proto.field.filter((f) => !inOneof(f))) yield fieldLine(field);
  for (const [index, oneof] of proto.oneofDecl.entries()) {
    yield `oneof ${oneof.name} {`;
    for (const field of proto.field.filter((f) => inOneof(f) && f.oneofIndex === index))
      yield fieldLine(field);
    yield "}";
  }
  for (const range of proto.extensionRange)
    yield `extensions ${range.start} to ${range.end > 536_870_911 ? "max" : range.end - 1};`;
  yield "}";
}

function* enumeration(proto) {
  yield `enum ${proto.name} {`;
  if (proto.options?.allowAlias) yield "option allow_alias = true;";
  for (const value of proto.value) yield `${value.name} = ${value.number};`;
  yield "}";
}

function* extensions(fields) {
  for (const field of fields) yield `extend ${field.extendee} { ${fieldLine(field)} }`;
}

/** Where generated code finds that of such a package, by language. */
function* fileOptions({ goPackage, javaPackage, javaOuterClassname, javaMultipleFiles } = {}) {
  if (goPackage) yield `option go_package = "${goPackage}";`;
  if (javaPackage) yield `option java_package = "${javaPackage}";`;
  if (javaOuterClassname) yield `option java_outer_classname = "${javaOuterClassname}";`;
  if (javaMultipleFiles) yield "option java_multiple_files = true;";
}

/**
 * The source of `file`, a DescFile whose messages use neither maps nor groups.
 * @param from whose it is, for the first line
 */
export function printProtoFile({ proto }, from) {
  return [
    `// Printed from the descriptor in ${from}: the shape alone, without comments.`,
    `syntax = "${proto.syntax || "proto2"}";`,
    `package ${proto.package};`,
    ...proto.dependency.map((path) => `import "${path}";`),
    ...fileOptions(proto.options),
    ...proto.messageType.flatMap((type) => [...message(type)]),
    ...proto.enumType.flatMap((type) => [...enumeration(type)]),
    ...extensions(proto.extension),
    "",
  ].join("\n");
}
