import { HttpError } from "./problem.js";
import type { Route } from "./router.js";

/**
 * Liveness: the process answers. Readiness: it also should get traffic.
 * @param notReady What stands in the way, in words for operators; empty when ready.
 * @param degraded What is done without, in such words: no reason to send traffic elsewhere.
 */
export function createHealthRoutes(
  notReady: () => Promise<readonly string[]>,
  degraded: () => readonly string[],
): Route[] {
  return [
    { method: "GET", path: /^\/healthz$/, handle: async () => ({ status: "ok" }) },
    {
      method: "GET",
      path: /^\/readyz$/,
      async handle() {
        const reasons = await notReady();
        const lacks = degraded();
        if (reasons.length === 0) return { status: "ready", ...(lacks.length > 0 && { degraded: lacks }) };
        throw new HttpError(503, reasons.join("; "), { body: { status: "not ready", reasons } });
      },
    },
  ];
}
