import type { Dataset } from "./dataset.js";

/**
 * single: scopes are bare, as GeoLens' own. multi: prefixed with the account, since a table name is unique
 * within its account only and a scope without its tenant could be replayed against another.
 */
export type Tenancy = "single" | "multi";

/** What a dataset's tokens open. Minting and verifying both go by what this returned when it was created. */
export function scopeOf(
  dataset: Pick<Dataset, "id" | "accountId" | "kind" | "tableName">,
  tenancy: Tenancy,
): string {
  const bare = dataset.kind === "vector" ? dataset.tableName : dataset.id;
  if (bare === undefined) throw new Error(`vector dataset ${dataset.id} has no table name`);
  return tenancy === "multi" ? `${dataset.accountId}:${bare}` : bare;
}
