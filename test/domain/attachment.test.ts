import { expect, test } from "vitest";
import { createAttachment } from "../../src/domain/attachment.js";

test("what is attached to an object is its own: no copy, no JSON and no other attachment has it", () => {
  const [tokens, texts] = [createAttachment<object, string>(), createAttachment<object, string>()];
  const owner = Object.freeze({ id: 1 });
  expect(tokens.of(owner)).toBeUndefined();
  tokens.attach(owner, "first");
  tokens.attach(owner, "second");
  texts.attach(owner, "text");
  expect([tokens.of(owner), texts.of(owner)]).toEqual(["second", "text"]);
  expect(tokens.of({ ...owner })).toBeUndefined();
  expect(tokens.of(structuredClone(owner))).toBeUndefined();
  expect(Reflect.ownKeys(owner)).toEqual(["id"]);
  expect(JSON.stringify(owner)).toBe('{"id":1}');
});
