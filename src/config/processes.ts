import { z } from "zod";
import { wholeNumber } from "./forms.js";
import type { Settings, Values } from "./read.js";
import { isEmbedded, type StorageValues } from "./storage.js";

export const variables = {
  // A process for each core; PostgreSQL's 100 connections, 10 for each process, are used up long before 64.
  WORKERS: wholeNumber(1, 64).default(1),
  SHUTDOWN_DELAY_SECONDS: wholeNumber(0, 300).optional(),
  LOG_LEVEL: z
    .enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"], {
      error: "must be one of fatal, error, warn, info, debug, trace and silent",
    })
    .default("info"),
};

/** A few rounds of a load balancer's checks, and well within the 30 s after which orchestrators kill. */
const DEFAULT_SHUTDOWN_DELAY_SECONDS = 5;

export const toConfig = (values: Values<typeof variables> & StorageValues) => ({
  /** Processes that share the port. More than one only with a PostgreSQL. */
  workers: values.WORKERS,
  /** How long the service still serves once it was asked to stop, for load balancers to notice. */
  shutdownDelaySeconds:
    values.SHUTDOWN_DELAY_SECONDS ?? (isEmbedded(values) ? 0 : DEFAULT_SHUTDOWN_DELAY_SECONDS),
  logLevel: values.LOG_LEVEL,
});

export function conflicts({ WORKERS, DATABASE_URL }: Settings<"WORKERS" | "DATABASE_URL">): string[] {
  if (!(Number(WORKERS?.text) > 1) || DATABASE_URL) return [];
  return [`${WORKERS?.source}: more than 1 needs DATABASE_URL, the embedded database has one process`];
}
