import { z } from "zod";
import type { EmbeddedOptions } from "../stores/prisma/embedded.js";
import type { PostgresOptions } from "../stores/prisma/postgres.js";
import { parseRedisUrl } from "../stores/redis/url.js";
import { wholeNumber } from "./forms.js";
import type { Values } from "./read.js";

export const variables = {
  DATABASE_URL: z
    .string()
    .refine(
      (url) => /^postgres(ql)?:\/\//.test(url) && URL.canParse(url),
      "must be a postgres:// or postgresql:// URL, special characters in the password percent-encoded",
    )
    .optional(),
  REDIS_URL: z
    .string()
    .refine(
      (url) => parseRedisUrl(url) !== undefined,
      "must be a redis://, rediss://, redis+sentinel:// or redis+cluster:// URL, special characters in the password percent-encoded",
    )
    .optional(),
  DATASET_CACHE_TTL_SECONDS: wholeNumber(1, 3_600).default(60),
  DATA_DIR: z.string().default("./data"),
  SEED_DEMO: z
    .enum(["true", "false"], { error: "must be true or false" })
    .transform((text) => text === "true")
    .optional(),
};

export type StorageValues = Values<typeof variables>;

type DatabaseConfig =
  | ({ readonly kind: "embedded" } & EmbeddedOptions)
  | ({ readonly kind: "postgres" } & PostgresOptions);

/** What isn't set has other defaults then: a newcomer's, on a machine of their own. */
export const isEmbedded = ({ DATABASE_URL }: StorageValues): boolean => DATABASE_URL === undefined;

export const toConfig = (values: StorageValues) => ({
  database: toDatabase(values),
  /** Absent: replicas share nothing but the database. */
  redis: values.REDIS_URL === undefined ? undefined : ({ url: values.REDIS_URL } as const),
  /** How old cached metadata may get. */
  cacheTtlSeconds: values.DATASET_CACHE_TTL_SECONDS,
  /** Whether an empty database gets the demo catalog. */
  seedDemo: values.SEED_DEMO ?? isEmbedded(values),
});

const toDatabase = ({ DATABASE_URL: url, DATA_DIR: dataDir }: StorageValues): DatabaseConfig =>
  url === undefined ? { kind: "embedded", dataDir } : { kind: "postgres", url };
