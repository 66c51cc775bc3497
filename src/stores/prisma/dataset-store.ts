import { unixSeconds } from "../../domain/clock.js";
import type {
  Bounds,
  Dataset,
  DatasetStore,
  DatasetTransaction,
  Holders,
} from "../../domain/datasets/dataset.js";
import { ConcurrentChangeError } from "../../domain/store.js";
import { type Dataset as DatasetModel, Prisma } from "../../gen/prisma/client.js";
import { type Database, readJsonWithin, type Statements } from "./database.js";
import type { JsonQuery } from "./driver.js";
import { type Columns, jsonRows } from "./json-rows.js";
import { pageArguments, toPage } from "./paging.js";

// What is stored of a dataset; `seq` is the database's own.
type DatasetRow = Omit<DatasetModel, "seq">;

// Prisma can neither read many ids in one statement, whatever their number, nor write many rows with a condition on
// each: these are raw SQL, over rows in the shape of Prisma's model.
const COLUMNS: Columns<DatasetRow> = {
  id: ["id", "uuid"],
  accountId: ["account_id", "uuid"],
  kind: ["kind", "dataset_kind"],
  title: ["title", "text"],
  tableName: ["table_name", "text"],
  scope: ["scope", "text"],
  visibility: ["visibility", "dataset_visibility"],
  status: ["status", "publication_status"],
  owner: ["owner", "text"],
  readerRoles: ["reader_roles", "text[]"],
  readerSubjects: ["reader_subjects", "text[]"],
  tileUrlTemplate: ["tile_url_template", "text"],
  bounds: ["bounds", "float8[]"],
  minzoom: ["minzoom", "int2"],
  maxzoom: ["maxzoom", "int2"],
  tileSize: ["tile_size", "int4"],
  format: ["format", "text"],
  cacheVersion: ["cache_version", "int4"],
  revokedUntilExp: ["revoked_until_exp", "timestamptz"],
  revision: ["revision", "int4"],
  created: ["created", "timestamptz"],
  changed: ["changed", "timestamptz"],
  deleted: ["deleted", "timestamptz"],
};

const columnList = (write: (field: string, column: string, type: string) => string): Prisma.Sql =>
  Prisma.raw(
    Object.entries(COLUMNS)
      .map(([field, [column, type]]) => write(field, column, type))
      .join(", "),
  );

const SELECTED = columnList((field, column) => `${column} AS "${field}"`);
const INSERTED = columnList((_field, column) => column);
const INPUT_FIELDS = columnList((field) => `input."${field}"`);
const INPUT_TYPES = columnList((field, _column, type) => `"${field}" ${type}`);
const ASSIGNMENTS = columnList((field, column) => `${column} = input."${field}"`);

const ROWS = jsonRows<DatasetRow>(COLUMNS);

// What a cold batch waits for. A row for each id, another in the place of what isn't there: that must take as long as what is
// there and must not be known of. As one text: the client takes 50 µs to make an array of 50 ids.
const READ_MANY: JsonQuery = {
  name: "read_datasets",
  text: `
    SELECT json_agg(CASE WHEN datasets.id IS NULL THEN ${ROWS.standInSql} ELSE ${ROWS.sql} END)::text AS json
    FROM unnest(string_to_array($1, ',')::uuid[]) AS asked(asked_id)
    LEFT JOIN datasets ON datasets.id = asked_id AND deleted IS NULL`,
};

// A statement's rows: enough that round trips don't count, few enough for statement timeouts.
const CHUNK = 500;

export function createPrismaDatasetStore(database: Pick<Database, "prisma" | "readJson">): DatasetStore {
  return {
    readMany: async (ids) => {
      if (ids.length === 0) return new Map();
      const rows = (await database.readJson(READ_MANY, [ids.join(",")])) as readonly (readonly unknown[])[];
      const datasets = new Map<string, Dataset>();
      for (const dataset of rows.map(ROWS.parse).map(toDataset)) {
        if (dataset.revision > 0) datasets.set(dataset.id, dataset);
      }
      return datasets;
    },
    readIdByScope: async (scope) => {
      const row = await database.prisma.dataset.findUnique({ where: { scope }, select: { id: true } });
      return row?.id;
    },
    readRevocations: async (nowSeconds) => {
      const rows = await database.prisma.dataset.findMany({
        where: { revokedUntilExp: { gt: timeOf(nowSeconds) } },
        select: { scope: true, revokedUntilExp: true },
      });
      return rows.flatMap(({ scope, revokedUntilExp }) =>
        revokedUntilExp === null ? [] : [{ scope, untilExp: unixSeconds(revokedUntilExp) }],
      );
    },
    list: async (accountId, page) => {
      const { position, order } = pageArguments(page);
      const where = { ...position, ...(accountId === undefined ? {} : { accountId }), deleted: null };
      const rows = await database.prisma.dataset.findMany({ where, ...order });
      return toPage(rows, page, toDataset);
    },
  };
}

export function createPrismaDatasetTransaction(client: Statements): DatasetTransaction {
  return {
    ...createPrismaDatasetStore({ prisma: client, readJson: readJsonWithin(client) }),
    save: async (datasets) => {
      for (let start = 0; start < datasets.length; start += CHUNK) {
        await saveChunk(client, datasets.slice(start, start + CHUNK));
      }
    },
    saveOver: async (datasets, lay, onSaved) => {
      for (let start = 0; start < datasets.length; start += CHUNK) {
        const chunk = datasets.slice(start, start + CHUNK);
        const holders = await findHolders(client, chunk);
        const laid = chunk.map((dataset, offset) => lay(dataset, holders(dataset), start + offset));
        await saveChunk(client, laid);
        onSaved?.(start + laid.length);
      }
    },
  };
}

async function findHolders(
  client: Statements,
  datasets: readonly Dataset[],
): Promise<(dataset: Dataset) => Holders> {
  const ids = datasets.map(({ id }) => id);
  const scopes = datasets.map(({ scope }) => scope);
  const rows = await client.$queryRaw<DatasetRow[]>`
    SELECT ${SELECTED} FROM datasets WHERE id = ANY(${ids}::uuid[]) OR scope = ANY(${scopes}::text[])`;
  const taken = rows.map(toDataset);
  const byId = new Map(taken.map((dataset) => [dataset.id, dataset]));
  const byScope = new Map(taken.map((dataset) => [dataset.scope, dataset]));
  return ({ id, scope }) => ({ ofId: byId.get(id), ofScope: byScope.get(scope) });
}

async function saveChunk(client: Statements, datasets: readonly Dataset[]): Promise<void> {
  const rows = datasets.map(toRow);
  await insert(
    client,
    rows.filter((row) => row.revision === 1),
  );
  await replace(
    client,
    rows.filter((row) => row.revision !== 1),
  );
}

async function insert(client: Statements, rows: readonly DatasetRow[]): Promise<void> {
  if (rows.length === 0) return;
  await client.$executeRaw`
    INSERT INTO datasets (${INSERTED})
    SELECT ${INPUT_FIELDS} FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS input(${INPUT_TYPES})`;
}

async function replace(client: Statements, rows: readonly DatasetRow[]): Promise<void> {
  if (rows.length === 0) return;
  const replaced = await client.$executeRaw`
    UPDATE datasets SET ${ASSIGNMENTS}
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS input(${INPUT_TYPES})
    WHERE datasets.id = input.id AND datasets.account_id = input."accountId"
      AND datasets.revision = input.revision - 1`;
  if (replaced !== rows.length) {
    throw new ConcurrentChangeError(`${rows.length - replaced} of ${rows.length} datasets changed meanwhile`);
  }
}

function toRow(dataset: Dataset): DatasetRow {
  const { raster, tableName = null, owner = null, revokedUntilExp, deleted = null, ...same } = dataset;
  const { tileUrlTemplate = null, bounds = [], minzoom, maxzoom, tileSize, format } = raster;
  return {
    ...same,
    tableName,
    owner,
    readerRoles: [...same.readerRoles],
    readerSubjects: [...same.readerSubjects],
    tileUrlTemplate,
    bounds: [...bounds],
    minzoom,
    maxzoom,
    tileSize,
    format,
    revokedUntilExp: revokedUntilExp === undefined ? null : timeOf(revokedUntilExp),
    deleted,
  };
}

function toDataset(row: DatasetRow): Dataset {
  const bounds = toBounds(row.bounds);
  return {
    id: row.id,
    accountId: row.accountId,
    kind: row.kind,
    title: row.title,
    ...(row.tableName === null ? {} : { tableName: row.tableName }),
    scope: row.scope,
    visibility: row.visibility,
    status: row.status,
    ...(row.owner === null ? {} : { owner: row.owner }),
    readerRoles: row.readerRoles,
    readerSubjects: row.readerSubjects,
    raster: {
      ...(row.tileUrlTemplate === null ? {} : { tileUrlTemplate: row.tileUrlTemplate }),
      ...(bounds === undefined ? {} : { bounds }),
      minzoom: row.minzoom,
      maxzoom: row.maxzoom,
      tileSize: row.tileSize,
      format: row.format,
    },
    cacheVersion: row.cacheVersion,
    ...(row.revokedUntilExp === null ? {} : { revokedUntilExp: unixSeconds(row.revokedUntilExp) }),
    revision: row.revision,
    created: row.created,
    changed: row.changed,
    ...(row.deleted === null ? {} : { deleted: row.deleted }),
  };
}

const timeOf = (unixSeconds: number): Date => new Date(unixSeconds * 1000);

function toBounds([west, south, east, north]: readonly number[]): Bounds | undefined {
  if (west === undefined || south === undefined || east === undefined || north === undefined)
    return undefined;
  return [west, south, east, north];
}
