import { z } from "zod";
import { compileTilePaths, PRESETS } from "#tile-paths";
import { list } from "./forms.js";
import type { Settings, Values } from "./read.js";

export const variables = {
  TILE_PATHS: list
    .pipe(
      z.array(
        z.string().refine(isTilePath, "must be a preset or a template such as /t/{table}/{z}/{x}/{y}.pbf"),
      ),
    )
    .default(["geolens", "martin"]),
  FORWARD_AUTH_URI_HEADER: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,64}$/, "must be a header's name, such as X-Original-URI")
    .transform((name) => name.toLowerCase())
    .optional(),
  FORWARD_AUTH_RATE_LIMIT_STATUS: z
    .enum(["403", "429"], { error: "must be 403 or 429" })
    .transform((text) => (text === "403" ? 403 : 429))
    .default(429),
};

export const toConfig = (values: Values<typeof variables>) => ({
  forwardAuth: {
    /** Presets and templates: which tiles a path is of. */
    tilePaths: values.TILE_PATHS,
    /** The only header that tells the original URI, in lower case. Absent: X-Original-URI or X-Forwarded-Uri. */
    uriHeader: values.FORWARD_AUTH_URI_HEADER,
    rateLimitStatus: values.FORWARD_AUTH_RATE_LIMIT_STATUS,
  } as const,
});

/** With several accounts a table's name alone says nothing: whoever named one of theirs alike would be let into another's. */
export function conflicts({ TENANCY, TILE_PATHS }: Settings<"TENANCY" | "TILE_PATHS">): string[] {
  if (TENANCY?.text !== "multi") return [];
  const items = variables.TILE_PATHS.safeParse(TILE_PATHS?.text).data ?? [];
  return items.flatMap((item, index) =>
    !(item in PRESETS) && /\{tables?\}/.test(item) && !item.includes("{account}")
      ? [`${TILE_PATHS?.source}, item ${index + 1}: needs {account} beside the table, with TENANCY=multi`]
      : [],
  );
}

function isTilePath(item: string): boolean {
  try {
    compileTilePaths([item]);
    return true;
  } catch {
    return false;
  }
}
