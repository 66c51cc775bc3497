import { z } from "zod";
import { SAME_ORIGIN } from "../front/answer-headers.js";
import { HttpError } from "./problem.js";
import type { RestRoute } from "./route.js";

/**
 * Liveness: the process answers. Readiness: it also should get traffic.
 * @param notReady What stands in the way, in words for operators; empty when ready.
 * @param degraded What is done without, in such words: no reason to send traffic elsewhere.
 */
export function createHealthRoutes(
  notReady: () => Promise<readonly string[]>,
  degraded: () => readonly string[],
): RestRoute[] {
  return [
    {
      name: "healthz",
      method: "GET",
      path: "/healthz",
      policy: SAME_ORIGIN,
      response: z.strictObject({ status: z.literal("ok") }),
      handle: () => ({ status: "ok" }),
    },
    {
      name: "readyz",
      method: "GET",
      path: "/readyz",
      policy: SAME_ORIGIN,
      response: z.strictObject({ status: z.literal("ready"), degraded: z.array(z.string()).optional() }),
      async handle() {
        const reasons = await notReady();
        const lacks = degraded();
        if (reasons.length === 0) return { status: "ready", ...(lacks.length > 0 && { degraded: lacks }) };
        throw new HttpError(503, reasons.join("; "), { body: { status: "not ready", reasons } });
      },
    },
  ];
}
