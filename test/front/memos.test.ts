import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createSecondMemo } from "../../src/domain/second-memo.js";
import { createAnswerMemos } from "../../src/front/answer-memo.js";

const generation = () => 0;
const now = new Date("2027-01-15T08:00:00Z");

describe("what is remembered of a second", () => {
  test("never takes more bytes than it may, and begins anew when it would", () => {
    const sizeOf = (_key: number, value: string) => value.length;
    const memo = createSecondMemo<number, string>({ generation, maxEntries: 100, maxBytes: 1_000, sizeOf });
    for (let key = 0; key < 10; key += 1) memo(now).set(key, "x".repeat(100));
    expect(memo(now).get(0)).toBeDefined();
    memo(now).set(10, "x");
    expect(memo(now).has(10)).toBe(false);
    expect(memo(now).get(0)).toBeUndefined();
  });

  test.each([
    ["entries", { maxEntries: 5 }],
    ["bytes", { maxEntries: 100, maxBytes: 50, sizeOf: () => 10 }],
  ])("keeps what came first when it may stop with so many %s", (_what, limits) => {
    const memo = createSecondMemo<number, number>({ generation, ...limits, whenFull: "stop" });
    for (let key = 0; key < 20; key += 1) memo(now).set(key, key);
    expect(memo(now).get(0)).toBe(0);
    expect(memo(now).has(10)).toBe(false);
    const next = new Date(now.getTime() + 1_000);
    memo(next).set(10, 10);
    expect(memo(next).has(0)).toBe(false);
    expect(memo(next).get(10)).toBe(10);
  });

  test("begins anew with so many entries", () => {
    const memo = createSecondMemo<number, number>({ generation, maxEntries: 10 });
    for (let key = 0; key < 10; key += 1) memo(now).set(key, key);
    expect(memo(now).has(0)).toBe(false);
  });
});

describe("remembered answers", () => {
  /** Asks twice: from the second time on it is kept. */
  const teach = (
    memo: ReturnType<ReturnType<typeof createAnswerMemos>>,
    question: Buffer,
    answer: string,
  ) => {
    memo.remember(question, answer, now);
    memo.remember(question, answer, now);
  };

  test("of one route are not another's", () => {
    const create = createAnswerMemos({ generation });
    const [first, second] = [create(), create()];
    const question = Buffer.from("the same");
    teach(first, question, "first");
    teach(second, question, "second");
    expect(first.recall(question, now)?.toString()).toBe("first");
    expect(second.recall(question, now)?.toString()).toBe("second");
  });

  test("take 4 MB, whoever asks for how much over how many routes", () => {
    const create = createAnswerMemos({ generation });
    const routes = Array.from({ length: 21 }, create);
    const answer = "x".repeat(100_000);
    const asked = routes.flatMap((memo) =>
      Array.from({ length: 10 }, () => ({ memo, question: randomBytes(40) })),
    );
    let most = 0;
    for (const [index, { memo, question }] of asked.entries()) {
      teach(memo, question, answer);
      const past = asked.slice(0, index + 1);
      most = Math.max(most, past.filter((one) => one.memo.recall(one.question, now) !== undefined).length);
    }
    expect(most).toBeGreaterThan(30);
    expect(most * answer.length).toBeLessThan(4 * 1024 * 1024);
  });
});
