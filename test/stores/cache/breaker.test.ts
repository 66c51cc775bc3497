import { expect, test, vi } from "vitest";
import { createBreaker } from "../../../src/stores/redis/breaker.js";

const PAUSE_MS = 1_000;

function createTestBreaker(timeoutMs = 60_000) {
  const time = { now: 0 };
  const onChange = vi.fn();
  const clock = () => new Date(time.now);
  return { time, onChange, breaker: createBreaker({ clock, timeoutMs, pauseMs: PAUSE_MS, onChange }) };
}

const fail = () => Promise.reject(new Error("refused"));
const never = () => new Promise<never>(() => {});

test("after a failure nobody is kept waiting until the pause is over, and an outage is told once", async () => {
  const { time, onChange, breaker } = createTestBreaker();
  expect(await breaker.attempt(fail)).toBeUndefined();
  const operation = vi.fn(async () => "answer");
  time.now = PAUSE_MS - 1;
  expect(await breaker.attempt(operation)).toBeUndefined();
  expect(operation).not.toHaveBeenCalled();
  time.now = PAUSE_MS;
  await breaker.attempt(fail);
  expect(onChange.mock.calls).toEqual([[new Error("refused")]]);
  time.now = 2 * PAUSE_MS;
  expect(await breaker.attempt(operation)).toBe("answer");
  expect(await breaker.attempt(operation)).toBe("answer");
  expect(onChange.mock.calls).toEqual([[new Error("refused")], [undefined]]);
});

test("after the pause one call tries, and the others keep out until it is done", async () => {
  const { time, breaker } = createTestBreaker();
  await breaker.attempt(fail);
  time.now = PAUSE_MS;
  void breaker.attempt(never);
  const operation = vi.fn(async () => "answer");
  expect(await breaker.attempt(operation)).toBeUndefined();
  expect(operation).not.toHaveBeenCalled();
});

test("an answer that takes too long is a failure", async () => {
  const { breaker } = createTestBreaker(10);
  expect(await breaker.attempt(never)).toBeUndefined();
  expect(await breaker.attempt(async () => "answer")).toBeUndefined();
});
