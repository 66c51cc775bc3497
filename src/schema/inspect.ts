import { type DescField, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { type Path, pathToString } from "@bufbuild/protobuf/reflect";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Violation } from "@bufbuild/protovalidate";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { type DomainError, invalid } from "../domain/errors.js";
import { duplicatePath } from "../json/duplicate-members.js";
import { inspectJson, type JsonProblem, type JsonShape } from "../json/inspect.js";

/** How a message is written. */
export type Form = "json" | "binary";

/** No message of ours nests deeper than 4, or has a third of so many fields. */
const MAX_DEPTH = 32;
const MAX_MEMBERS = 64;

/** Enough for every list whose length no rule says: field masks. */
const MAX_UNRULED_ITEMS = 1_000;

/** The longest text that a rule allows is 8,192 characters, each of 6 bytes where JSON escapes it. */
const MAX_TEXT_BYTES = 6 * 8_192;

/** No printer indents so deep. */
const MAX_BLANKS = 16_384;

/**
 * Counts what a message, or the beginning of one, holds before anything is built from it: two bytes make an item, and decoding
 * and checking one costs microseconds. Looks as far as the first list that is longer than the schema allows, which is the
 * answer then.
 *
 * @param maxValues Fields and items of all kinds together.
 * @returns What is wrong; undefined also for what ends too early, which the beginning of a message does, and for malformed JSON,
 * which its decoder tells better.
 */
export function countItems(
  schema: DescMessage,
  form: Form,
  message: Buffer,
  maxValues: number,
): Violation | DomainError | undefined {
  if (form === "binary") return inspectBinary(schema, message, maxValues);
  const limits = {
    maxValues,
    maxDepth: MAX_DEPTH,
    maxItems: MAX_UNRULED_ITEMS,
    maxMembers: MAX_MEMBERS,
    maxTextBytes: MAX_TEXT_BYTES,
    maxBlanks: MAX_BLANKS,
  };
  const problem = inspectJson(message, limits, shapeOf(schema));
  return problem && describe(problem, schema);
}

/** The same of a whole message, of which nothing may be there twice, either. */
export function inspectMessage(
  schema: DescMessage,
  form: Form,
  message: Buffer,
  maxValues: number,
): Violation | DomainError | undefined {
  const problem = countItems(schema, form, message, maxValues);
  return problem ?? (form === "json" ? repeatedMember(message.toString(), schema) : undefined);
}

/**
 * Of two members of one name programs read either: a proxy before us perhaps the other one.
 * @param schema Whose names the error takes, where it knows them.
 */
export function repeatedMember(json: string, schema?: DescMessage): DomainError | undefined {
  try {
    const path = duplicatePath(json);
    return path && invalid(fieldText(path, schema), "is there twice");
  } catch {
    // It is no JSON, which its parser tells better.
    return undefined;
  }
}

const WORDS: Record<Exclude<JsonProblem["kind"], "items">, string> = {
  members: "has too many members",
  values: "is more than such a request may hold",
  depth: "is nested too deeply",
  text: "is too long",
  blanks: "has too many blanks",
};

/** What a JSON body's problem is, in words. */
export function describeJson({ kind, path, max }: JsonProblem, schema?: DescMessage): DomainError {
  const words = kind === "items" ? `has more than ${max} items` : WORDS[kind];
  return invalid(fieldText(path, schema), words);
}

function describe(problem: JsonProblem, schema: DescMessage): Violation | DomainError {
  const path = problem.kind === "items" && fieldPath(problem.path, schema);
  return path && problem.max !== undefined ? tooMany(path, problem.max) : describeJson(problem, schema);
}

/** In protovalidate's words for the same. */
const tooMany = (path: Path, max: number): Violation =>
  new Violation(`must contain no more than ${max} item(s)`, "repeated.max_items", path, [], false);

/** Names are the sender's, of any length: an error echoes so much of them. */
const MAX_NAME_LENGTH = 100;

const pathText = (path: readonly (string | number)[]): string =>
  path
    .reduce<string>(
      (text, part) =>
        typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`,
      "",
    )
    .slice(0, MAX_NAME_LENGTH);

/** In the schema's names, as far as it is known to it. */
function fieldText(path: readonly (string | number)[], schema: DescMessage | undefined): string {
  const known = schema && fieldPath(path, schema);
  return (known ? pathToString(known) : pathText(path)) || "body";
}

function fieldPath(path: readonly (string | number)[], schema: DescMessage): Path | undefined {
  const found: Path = [];
  let message: DescMessage | undefined = schema;
  for (const part of path) {
    if (typeof part === "number") {
      found.push({ kind: "list_sub", index: part });
      continue;
    }
    const field: DescField | undefined = message && fieldOf(message, part);
    if (field === undefined) return undefined;
    found.push(field);
    message = field.message;
  }
  return found;
}

const fieldOf = (schema: DescMessage, name: string): DescField | undefined =>
  schema.fields.find((field) => field.jsonName === name || field.name === name);

const shapes = new WeakMap<DescMessage, JsonShape>();

function shapeOf(schema: DescMessage): JsonShape {
  let shape = shapes.get(schema);
  if (shape === undefined) {
    const members = new Map<string, JsonShape>();
    shape = { member: (name) => members.get(name) };
    shapes.set(schema, shape);
    for (const field of schema.fields) {
      const known = fieldShape(field);
      if (known === undefined) continue;
      members.set(field.name, known);
      members.set(field.jsonName, known);
    }
  }
  return shape;
}

function fieldShape(field: DescField): JsonShape | undefined {
  const inner = field.message && shapeOf(field.message);
  if (field.fieldKind !== "list") return inner;
  return { maxItems: maxItemsOf(field), member: (name) => inner?.member(name) };
}

const limits = new WeakMap<DescField, number>();

function maxItemsOf(field: DescField): number {
  let max = limits.get(field);
  if (max === undefined) {
    const { type } = getOption(field, fieldRules);
    max = (type.case === "repeated" && Number(type.value.maxItems)) || MAX_UNRULED_ITEMS;
    limits.set(field, max);
  }
  return max;
}

const FIXED_BYTES = new Map<ScalarType, number>([
  [ScalarType.DOUBLE, 8],
  [ScalarType.FIXED64, 8],
  [ScalarType.SFIXED64, 8],
  [ScalarType.FLOAT, 4],
  [ScalarType.FIXED32, 4],
  [ScalarType.SFIXED32, 4],
]);

/** What a list may hold in one piece; enums have no scalar type. */
const isNumber = (scalar: ScalarType | undefined): boolean =>
  scalar !== ScalarType.STRING && scalar !== ScalarType.BYTES;

function inspectBinary(
  schema: DescMessage,
  message: Buffer,
  maxValues: number,
): Violation | DomainError | undefined {
  const reader = new BinaryReader(message);
  const path: Path = [];
  let values = 0;

  function inspect(desc: DescMessage, end: number): Violation | DomainError | undefined {
    const counts = new Map<number, number>();
    let singular = 0;
    /** Of a list, the item that has just been counted. */
    const itemOf = ({ fieldKind, number }: DescField): Path =>
      fieldKind === "list" ? [{ kind: "list_sub", index: (counts.get(number) ?? 1) - 1 }] : [];
    while (reader.pos < end) {
      const [number, wireType] = reader.tag();
      const field = desc.fields.find((candidate) => candidate.number === number);
      const isList = field?.fieldKind === "list";
      if (wireType === WireType.StartGroup)
        return invalid("body", "has a group, and no message here has any");
      const length = wireType === WireType.LengthDelimited ? reader.uint32() : undefined;
      const isPacked =
        isList && length !== undefined && field.listKind !== "message" && isNumber(field.scalar);
      const items = isPacked ? packedItems(field.scalar, reader.pos, Math.min(reader.pos + length, end)) : 1;
      if (isList) {
        const count = (counts.get(number) ?? 0) + items;
        counts.set(number, count);
        if (count > maxItemsOf(field)) return tooMany([...path, field], maxItemsOf(field));
      } else {
        singular += 1;
        if (singular > MAX_MEMBERS) return invalid("body", WORDS.members);
      }
      values += items;
      if (values > maxValues) return invalid("body", WORDS.values);
      if (length === undefined) {
        reader.skip(wireType, number);
        continue;
      }
      const next = reader.pos + length;
      if (field?.message) {
        path.push(field);
        path.push(...itemOf(field));
        const found = inspect(field.message, Math.min(next, end));
        if (found !== undefined) return found;
        path.length -= isList ? 2 : 1;
      } else if (length > MAX_TEXT_BYTES) {
        return invalid(field ? pathToString([...path, field, ...itemOf(field)]) : "body", WORDS.text);
      }
      reader.pos = next;
    }
    return undefined;
  }

  /** Each number ends with a byte whose first bit is not set, unless all have the same length. */
  function packedItems(scalar: ScalarType | undefined, start: number, end: number): number {
    const bytes = scalar === undefined ? undefined : FIXED_BYTES.get(scalar);
    if (bytes !== undefined) return Math.ceil((end - start) / bytes);
    let items = 0;
    for (let index = start; index < end; index += 1) if ((message[index] ?? 0) < 0x80) items += 1;
    return items;
  }

  try {
    return inspect(schema, message.length);
  } catch (error) {
    return error instanceof RangeError ? undefined : invalid("body", "is malformed");
  }
}
