import type { Page, PageRequest } from "../../domain/page.js";

/** How Prisma reads a page, newest first. One row more than fits tells whether there is a next page. */
export function pageArguments({ limit, before }: PageRequest) {
  return {
    position: before === undefined ? {} : { seq: { lt: before } },
    order: { orderBy: { seq: "desc" }, take: limit + 1 },
  } as const;
}

/** The page that `rows`, read with pageArguments, make. */
export function toPage<Row extends { readonly seq: bigint }, T>(
  rows: readonly Row[],
  { limit }: PageRequest,
  convert: (row: Row) => T,
): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return {
    items: items.map(convert),
    ...(rows.length > limit && last ? { next: last.seq } : {}),
  };
}
