/** Longer than anything of ours takes. */
export const MAX_DEADLINE_MS = 30_000;

const UNITS = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** A `Connect-Timeout-Ms` in milliseconds; NaN for what is malformed. */
export const connectTimeoutMs = (text: string): number =>
  /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;

/** A `grpc-timeout` in milliseconds; NaN for what is malformed. */
export function grpcTimeoutMs(text: string): number {
  const [, amount, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  return Number(amount) * (UNITS[unit as keyof typeof UNITS] ?? Number.NaN);
}

/**
 * A client that would wait longer is not refused for it: the deadline becomes ours. Connect itself refuses what is above
 * its `maxTimeoutMs`.
 */
export function clampDeadline(header: Headers): void {
  const connect = header.get("connect-timeout-ms");
  if (connect !== null && connectTimeoutMs(connect) > MAX_DEADLINE_MS) {
    header.set("connect-timeout-ms", String(MAX_DEADLINE_MS));
  }
  const grpc = header.get("grpc-timeout");
  if (grpc !== null && grpcTimeoutMs(grpc) > MAX_DEADLINE_MS) {
    header.set("grpc-timeout", `${MAX_DEADLINE_MS}m`);
  }
}
