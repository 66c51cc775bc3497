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
  /** Its tokens that expire at or before this are refused: Unix seconds. Absent: none was ever revoked. */
  readonly revokedUntilExp?: number;
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

/**
 * Cached: what deciding and signing looks up. A change is obeyed as soon as its announcement arrives; where the database is
 * away, a part is known.
 */
export interface DatasetCache {
  /**
   * The datasets that exist and are not deleted, by id; null for one of which nothing can be told now. What `mayKnow` denies
   * is left out, and takes the time, statements and round trips of an id that is nobody's, however well it is known.
   */
  lookUp(
    ids: readonly string[],
    mayKnow: (dataset: Dataset) => boolean,
  ): Promise<ReadonlyMap<string, Dataset | null>>;
  /** At once: the dataset, if this process knows it and would answer by it now. Undefined: look it up. */
  known(id: string): Dataset | undefined;
}

/** Cached: whose the scopes of tokens are. A scope is one dataset's for ever, so nothing here ever changes. */
export interface ScopeCache {
  /** The dataset that has this scope, be it deleted: its id. Undefined if none ever had. @throws DomainError unavailable. */
  lookUp(scope: string): Promise<string | undefined>;
  /** At once: the id, if this process knows it. Undefined: look it up. */
  known(scope: string): string | undefined;
}

/** Tokens that are out and refused. */
export interface Revocation {
  readonly scope: string;
  /** Tokens that expire at or before this are refused: Unix seconds. */
  readonly untilExp: number;
}

/** The truth: each call asks the database. */
export interface DatasetStore {
  /** The datasets that exist and are not deleted, by id. One statement, whatever the number of ids. */
  readMany(ids: readonly string[]): Promise<ReadonlyMap<string, Dataset>>;
  /** The id of the dataset that has this scope, deleted or not. */
  readIdByScope(scope: string): Promise<string | undefined>;
  /** Whose tokens are refused that would else be alive now, deleted datasets' too: in no order. */
  readRevocations(nowSeconds: number): Promise<readonly Revocation[]>;
  /** Not deleted ones, newest first; of every account if none is given. */
  list(accountId: string | undefined, page: PageRequest): Promise<Page<Dataset>>;
}

export interface DatasetTransaction extends Pick<DatasetStore, "readMany"> {
  /**
   * Inserts rows of revision 1 and replaces rows whose stored revision is one less than theirs.
   * @throws DuplicateError for a `scope` or `id` that is taken, ConcurrentChangeError for a row that changed meanwhile.
   */
  save(datasets: readonly Dataset[]): Promise<void>;
  /**
   * Saves what `lay` makes of each of these, given who has its id and its scope already. For any number of them, each with an id
   * and a scope of its own: they are read and saved some at a time, and `onSaved` hears how many are.
   * @throws as save; what `lay` throws.
   */
  saveOver(
    datasets: readonly Dataset[],
    lay: (dataset: Dataset, holders: Holders, index: number) => Dataset,
    onSaved?: (count: number) => void,
  ): Promise<void>;
}

/** Datasets that are in the way of another one, deleted or not. */
export interface Holders {
  readonly ofId?: Dataset | undefined;
  readonly ofScope?: Dataset | undefined;
}
