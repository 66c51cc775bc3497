import { inject } from "vitest";

/** The server that all tests share; undefined where there is none: `describe.skipIf(!redisUrl())`. */
export const redisUrl = (): string | undefined => inject("redisUrl") ?? undefined;
