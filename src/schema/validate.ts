import {
  create,
  type DescField,
  type DescMessage,
  getOption,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { isReflectMessage, pathToString, type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator, type Violation } from "@bufbuild/protovalidate";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { type DomainError, invalid, invalidFields } from "../domain/errors.js";

const validator = createValidator();
const quickValidator = createValidator({ failFast: true });

/**
 * More violations than a full batch can have are cut, since each travels in the error's details, and gRPC
 * clients refuse trailers of more than 8 KiB.
 */
const MAX_VIOLATIONS = 51;

/** So many bad messages of a list are looked at: to find every violation in thousands would take a stranger's word for it. */
const MAX_BAD_ITEMS = 10;

/** What is wrong with a message by the rules of its schema, the rule on a whole list before those on its items. */
export function violationsOf(schema: DescMessage, message: Message): Violation[] {
  if (validate(quickValidator, schema, message).length === 0) return [];
  const violations = validate(validator, schema, withFewBadItems(schema, message));
  return violations.toSorted((a, b) => a.field.length - b.field.length).slice(0, MAX_VIOLATIONS);
}

/**
 * Names each field that breaks a rule, as `.proto` files spell it.
 * @param prefix What precedes the fields' names.
 */
export const invalidRequest = (violations: readonly Violation[], prefix = ""): DomainError =>
  invalidFields(
    violations.map(({ field, message, ruleId }) => ({
      field: prefix + pathToString(field),
      description: message,
      rule: ruleId.replaceAll(".", "_").toUpperCase(),
    })),
  );

/** Compiles a message's rules, for which the first one else waits: up to 50 ms, and as long again where it breaks one. */
export function compileRules(schema: DescMessage): void {
  const empty = create(schema);
  for (const each of [quickValidator, validator]) validate(each, schema, empty);
}

function validate(by: Validator, schema: DescMessage, message: Message): Violation[] {
  const result = by.validate(schema, message);
  // A rule that doesn't compile is a defect of the schema, not of the request.
  if (result.kind === "error") throw result.error;
  return result.kind === "valid" ? [] : result.violations;
}

/** The same message, but its lists of messages end with their tenth bad one. */
function withFewBadItems(schema: DescMessage, message: Message): Message {
  const shorter: Record<string, unknown> = {};
  for (const field of schema.fields) {
    if (field.fieldKind !== "list" || field.listKind !== "message") continue;
    const items = Reflect.get(message, field.localName) as readonly Message[];
    let bad = 0;
    const last = items.findIndex(
      (item) => validate(quickValidator, field.message, item).length > 0 && ++bad === MAX_BAD_ITEMS,
    );
    if (last !== -1) shorter[field.localName] = items.slice(0, last + 1);
  }
  return { ...message, ...shorter };
}

/**
 * Text may hold any character but U+0000, which PostgreSQL can't store, and no half of a surrogate pair, which
 * UTF-8 can't carry.
 * @param prefix What precedes the fields' names in an error.
 * @throws DomainError that names the field.
 */
export function requireStorableText(schema: DescMessage, message: Message, prefix = ""): void {
  for (const { path, text } of textsOf(reflect(schema, message), prefix)) {
    if (text.includes("\0")) throw invalid(path, "must not contain the character U+0000");
    if (/\p{Surrogate}/u.test(text)) throw invalid(path, "must be well-formed Unicode");
  }
}

function* textsOf(message: ReflectMessage, prefix: string): Generator<{ path: string; text: string }> {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const path = prefix + field.name;
    if (field.fieldKind === "list") {
      for (const [index, item] of [...message.get(field)].entries()) {
        yield* textsIn(item, `${path}[${index}]`);
      }
    } else {
      yield* textsIn(message.get(field), path);
    }
  }
}

function* textsIn(value: unknown, path: string): Generator<{ path: string; text: string }> {
  if (typeof value === "string") yield { path, text: value };
  else if (isReflectMessage(value)) yield* textsOf(value, `${path}.`);
}

/** How many items the schema allows in a repeated field. */
export function listLimits(field: DescField): { min: number; max: number } {
  const { type } = getOption(field, fieldRules);
  if (type.case !== "repeated") throw new Error(`${field.name} has no rules for lists`);
  return { min: Number(type.value.minItems), max: Number(type.value.maxItems) };
}

/** The message, if it keeps its schema's rules. @throws DomainError that names every bad field. */
export function checked<Schema extends DescMessage>(
  schema: Schema,
  init: MessageInitShape<Schema>,
): MessageShape<Schema> {
  const message = create(schema, init);
  const violations = violationsOf(schema, message);
  if (violations.length > 0) throw invalidRequest(violations);
  requireStorableText(schema, message);
  return message;
}
