import { z } from "zod";
import type { Tenancy } from "../domain/datasets/scope.js";
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from "../domain/tile-tokens/key-ring.js";
import type { TokenLifetime } from "../domain/tile-tokens/lifetime.js";
import { parseUrl } from "../domain/url.js";
import { wholeNumber } from "./forms.js";
import type { Settings, Values } from "./read.js";

export const variables = {
  TENANCY: z.enum(["single", "multi"], { error: "must be single or multi" }).default("single"),
  TILE_SIGNING_ALGORITHM: z
    .enum(SIGNING_ALGORITHMS, { error: `must be ${SIGNING_ALGORITHMS.join(" or ")}` })
    .default("hmac"),
  // At most a day, since a token that is out lives until it expires.
  TILE_TOKEN_TTL_SECONDS: wholeNumber(1, 86_400).default(900),
  TILE_TOKEN_MIN_VALIDITY_SECONDS: wholeNumber(1, 86_400).optional(),
  TILE_BASE_URL: z
    .string()
    .refine(isBaseUrl, "must be an http(s) URL such as https://tiles.example, without query and credentials")
    .transform((text) => new URL(text).href.replace(/\/+$/, ""))
    .optional(),
};

type TokensConfig = TokenLifetime & {
  readonly tenancy: Tenancy;
  readonly signingAlgorithm: SigningAlgorithm;
  /** In front of tiles' paths, without a slash at its end. Absent: as clients know this server. */
  readonly tileBaseUrl: string | undefined;
};

/** For clients to load what is on their screen. */
const DEFAULT_MIN_VALIDITY_SECONDS = 60;

export const toConfig = (values: Values<typeof variables>): { tokens: TokensConfig } => ({
  tokens: {
    ttlSeconds: values.TILE_TOKEN_TTL_SECONDS,
    minValiditySeconds:
      values.TILE_TOKEN_MIN_VALIDITY_SECONDS ??
      Math.min(DEFAULT_MIN_VALIDITY_SECONDS, values.TILE_TOKEN_TTL_SECONDS),
    tenancy: values.TENANCY,
    signingAlgorithm: values.TILE_SIGNING_ALGORITHM,
    tileBaseUrl: values.TILE_BASE_URL,
  },
});

function isBaseUrl(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || /[\s\\?#]/.test(text)) return false;
  const url = parseUrl(text);
  return url !== undefined && url.username === "" && url.password === "";
}

export function conflicts(settings: Settings<keyof typeof variables>): string[] {
  const { TILE_TOKEN_TTL_SECONDS, TILE_TOKEN_MIN_VALIDITY_SECONDS } = settings;
  const ttl = variables.TILE_TOKEN_TTL_SECONDS.safeParse(TILE_TOKEN_TTL_SECONDS?.text).data;
  const minimum = variables.TILE_TOKEN_MIN_VALIDITY_SECONDS.safeParse(
    TILE_TOKEN_MIN_VALIDITY_SECONDS?.text,
  ).data;
  if (ttl === undefined || minimum === undefined || minimum <= ttl) return [];
  return [`${TILE_TOKEN_MIN_VALIDITY_SECONDS?.source}: must not exceed TILE_TOKEN_TTL_SECONDS`];
}
