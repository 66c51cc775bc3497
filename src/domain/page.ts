/** One page of a listing, as a store reads it: newest first. Positions only grow, so a page stays right while rows come and go. */
export interface PageRequest {
  readonly limit: number;
  /** The position after which the listing goes on. Absent: the first page. */
  readonly before?: bigint | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Position of the last item. Absent on the last page. */
  readonly next?: bigint;
}

/** One page of a listing, as a caller asks for it. */
export interface ListRequest {
  readonly limit: number;
  /** The `cursor` of the page before. Absent: the first page. */
  readonly cursor?: string | undefined;
}

export interface ListedPage<T> {
  readonly items: readonly T[];
  /** Opaque; gets the next page. Absent on the last page. */
  readonly cursor?: string | undefined;
}

/** What a cursor belongs to. It leads on nowhere else. */
export interface Listing {
  readonly of: "accounts" | "service_tokens" | "datasets" | "api_keys";
  /** Whose. Absent: all accounts'. */
  readonly accountId?: string | undefined;
}

/** How positions travel. They count the rows of all accounts, so callers must not be able to read them. */
export interface Cursors {
  seal(position: bigint, listing: Listing): string;
  /** @throws DomainError INVALID_FIELD for anything that `seal` didn't make for this listing. */
  open(cursor: string, listing: Listing): bigint;
}

export const DEFAULT_PAGE_LIMIT = 50;

/** The page of `listing` that was asked for. @throws DomainError INVALID_FIELD for a malformed cursor, what `read` throws. */
export async function readPage<T>(
  cursors: Cursors,
  listing: Listing,
  { limit, cursor }: ListRequest,
  read: (page: PageRequest) => Promise<Page<T>>,
): Promise<ListedPage<T>> {
  const before = cursor === undefined ? undefined : cursors.open(cursor, listing);
  const { items, next } = await read({ limit, before });
  return { items, cursor: next === undefined ? undefined : cursors.seal(next, listing) };
}
