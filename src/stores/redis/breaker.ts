import type { Clock } from "../../domain/clock.js";
import { within } from "../within.js";

/** Keeps calls from waiting for something that has just failed. */
export interface Breaker {
  /**
   * Calls `operation`, unless the last one failed less than the pause ago: then undefined, at once. A failure too is
   * undefined, and so is an answer that takes too long. After the pause one call tries, and the others keep out until it
   * is done.
   */
  attempt<T>(operation: () => Promise<T>): Promise<T | undefined>;
}

export interface BreakerOptions {
  readonly clock: Clock;
  /** What takes longer has failed. */
  readonly timeoutMs: number;
  /** Milliseconds without a call after a failure. */
  readonly pauseMs: number;
  /** Hears each failure that opens the breaker, and the success that closes it again. */
  readonly onChange?: ((error: unknown) => void) | undefined;
}

export function createBreaker({ clock, timeoutMs, pauseMs, onChange }: BreakerOptions): Breaker {
  let openUntil: number | undefined;
  return {
    async attempt(operation) {
      const now = clock().getTime();
      if (openUntil !== undefined) {
        if (now < openUntil) return undefined;
        openUntil = now + pauseMs;
      }
      try {
        const result = await within(timeoutMs, operation());
        if (openUntil !== undefined) onChange?.(undefined);
        openUntil = undefined;
        return result;
      } catch (error) {
        if (openUntil === undefined) onChange?.(error);
        openUntil = clock().getTime() + pauseMs;
        return undefined;
      }
    },
  };
}
