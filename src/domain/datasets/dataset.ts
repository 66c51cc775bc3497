import type { Page, PageRequest } from "../page.js";

export type DatasetKind = "vector" | "raster";
export type DatasetVisibility = "public" | "restricted" | "private";
export type PublicationStatus = "draft" | "published";

export interface Dataset {
  readonly id: string;
  readonly accountId: string;
  readonly kind: DatasetKind;
  readonly title: string;
  /** Vector only: the table that the tile server reads. */
  readonly tableName?: string;
  /** What its tokens open. Unique over all datasets that ever were. Made by scopeOf, nowhere else. */
  readonly scope: string;
  readonly visibility: DatasetVisibility;
  readonly status: PublicationStatus;
  /** Subject of the owning user. */
  readonly owner?: string;
  readonly readerRoles: readonly string[];
  readonly readerSubjects: readonly string[];
  /** What a map needs to show raster tiles. Meaningless for vector. */
  readonly raster: RasterTiles;
  /** Version of the tiles' content, at least 1. */
  readonly cacheVersion: number;
  /** Counts the changes, from 1. */
  readonly revision: number;
  readonly created: Date;
  readonly changed: Date;
  readonly deleted?: Date;
}

export interface RasterTiles {
  /** Absent: the installation's own path, `/raster-tiles/{id}/tiles/{z}/{x}/{y}.png`. */
  readonly tileUrlTemplate?: string;
  /** West, south, east, north in degrees; absent when unknown. */
  readonly bounds?: Bounds;
  readonly minzoom: number;
  readonly maxzoom: number;
  /** Pixels. */
  readonly tileSize: number;
  readonly format: string;
}

export type Bounds = readonly [west: number, south: number, east: number, north: number];

export interface DatasetReader {
  /** The datasets that exist and are not deleted, by id. One statement, whatever the number of ids. */
  findMany(ids: readonly string[]): Promise<ReadonlyMap<string, Dataset>>;
}

/** What deciding and signing reads, from caches that know a part when the database is away. */
export interface DatasetCache {
  /**
   * As findMany, but never unavailable as a whole: null for a dataset of which nothing can be told now. What `mayKnow`
   * denies is left out, and takes the time, statements and round trips of an id that is nobody's, however well it is known.
   */
  tryFindMany(
    ids: readonly string[],
    mayKnow: (dataset: Dataset) => boolean,
  ): Promise<ReadonlyMap<string, Dataset | null>>;
  /** The dataset, if this process knows it and would answer by it now. Undefined: ask tryFindMany. */
  peek(id: string): Dataset | undefined;
}

export interface DatasetStore extends DatasetReader {
  /** Not deleted ones, newest first; of every account if none is given. */
  list(accountId: string | undefined, page: PageRequest): Promise<Page<Dataset>>;
  /**
   * All or nothing: what `work` saves is committed when it resolves and undone when it rejects.
   * @throws DuplicateError for a `scope` or `id` that was taken meanwhile, ConcurrentChangeError for a row that
   * changed meanwhile.
   */
  transaction<T>(work: (transaction: DatasetTransaction) => Promise<T>): Promise<T>;
}

export interface DatasetTransaction {
  /** Every dataset, deleted or not, that has one of these ids or scopes. */
  findTaken(ids: readonly string[], scopes: readonly string[]): Promise<readonly Dataset[]>;
  /** Inserts rows of revision 1 and replaces rows whose stored revision is one less than theirs. */
  save(datasets: readonly Dataset[]): Promise<void>;
}
