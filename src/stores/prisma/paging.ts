import type { Page, PageRequest } from "../../domain/page.js";

/** So many rows are read for a page: one more than fits tells whether there is a next page. */
export const rowsOf = ({ limit }: PageRequest): number => limit + 1;

/** How Prisma reads a page, newest first. */
export function pageArguments(page: PageRequest) {
  const { before } = page;
  return {
    position: before === undefined ? {} : { seq: { lt: before } },
    order: { orderBy: { seq: "desc" }, take: rowsOf(page) },
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
