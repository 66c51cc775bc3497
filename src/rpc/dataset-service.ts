import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Bounds, RasterTiles } from "../domain/datasets/dataset.js";
import type { DatasetInput, RasterInput } from "../domain/datasets/dataset-rules.js";
import type { Datasets, ManagedDataset } from "../domain/datasets/datasets.js";
import { invalid } from "../domain/errors.js";
import { canonicalUuid } from "../domain/uuid.js";
import {
  DatasetKind,
  type DatasetSchema,
  DatasetVisibility,
  PublicationStatus,
  type Dataset as WireDataset,
  type RasterTiles as WireRasterTiles,
} from "../gen/proto/tilegate/v1/dataset_pb.js";
import type { DatasetService } from "../gen/proto/tilegate/v1/dataset_service_pb.js";
import { optionalUuid, orUndefined, pick, toListRequest } from "./conversions.js";
import { callerKey } from "./interceptors.js";

const CHANGEABLE = {
  title: "title",
  visibility: "visibility",
  status: "status",
  owner: "owner",
  reader_roles: "readerRoles",
  reader_subjects: "readerSubjects",
  raster: "raster",
  cache_version: "cacheVersion",
} as const;

const KINDS = { vector: DatasetKind.VECTOR, raster: DatasetKind.RASTER };

const VISIBILITIES = {
  public: DatasetVisibility.PUBLIC,
  restricted: DatasetVisibility.RESTRICTED,
  private: DatasetVisibility.PRIVATE,
};

const STATUSES = { draft: PublicationStatus.DRAFT, published: PublicationStatus.PUBLISHED };

export function createDatasetService(datasets: Datasets): ServiceImpl<typeof DatasetService> {
  return {
    async createDataset({ dataset }, { values }) {
      const input = toInput(required(dataset), "dataset");
      return { dataset: toWire(await datasets.create(values.get(callerKey), input)) };
    },

    async getDataset({ id }, { values }) {
      return { dataset: toWire(await datasets.get(values.get(callerKey), canonicalUuid(id))) };
    },

    async listDatasets(request, { values }) {
      const accountId = optionalUuid(request.accountId);
      const page = await datasets.list(values.get(callerKey), toListRequest(request), accountId);
      return { datasets: page.items.map(toWire), cursor: page.cursor };
    },

    async updateDataset({ dataset: wire, updateMask }, { values }) {
      const dataset = required(wire);
      if (dataset.id === "") throw invalid("dataset.id", "is required");
      const paths = updateMask?.paths ?? [];
      const change = pick(toSettings(dataset, "dataset"), paths, CHANGEABLE);
      const [id, etag] = [canonicalUuid(dataset.id), orUndefined(dataset.etag)];
      return { dataset: toWire(await datasets.update(values.get(callerKey), id, change, etag)) };
    },

    async deleteDataset({ id, etag }, { values }) {
      await datasets.delete(values.get(callerKey), canonicalUuid(id), orUndefined(etag));
      return {};
    },

    async batchUpsertDatasets(request, { values }) {
      const inputs = request.datasets.map((dataset, index) => toInput(dataset, `datasets[${index}]`));
      const accountId = optionalUuid(request.accountId);
      const { ids, ...counts } = await datasets.upsert(values.get(callerKey), accountId, inputs);
      return { ids: [...ids], ...counts };
    },
  };
}

function toWire(dataset: ManagedDataset): MessageInitShape<typeof DatasetSchema> {
  return {
    id: dataset.id,
    accountId: dataset.accountId,
    kind: KINDS[dataset.kind],
    title: dataset.title,
    tableName: dataset.tableName,
    visibility: VISIBILITIES[dataset.visibility],
    status: STATUSES[dataset.status],
    owner: dataset.owner,
    readerRoles: [...dataset.readerRoles],
    readerSubjects: [...dataset.readerSubjects],
    raster: dataset.kind === "raster" ? toWireRaster(dataset.raster) : undefined,
    cacheVersion: dataset.cacheVersion,
    createTime: timestampFromDate(dataset.created),
    updateTime: timestampFromDate(dataset.changed),
    etag: dataset.etag,
  };
}

const toWireRaster = ({ bounds, ...raster }: RasterTiles) => ({ ...raster, bounds: [...(bounds ?? [])] });

/** @throws DomainError that names the field below `path`. Exported for the command line's import. */
export function toInput(dataset: WireDataset, path: string): DatasetInput {
  return {
    ...toSettings(dataset, path),
    id: optionalUuid(dataset.id),
    accountId: optionalUuid(dataset.accountId),
    kind: fromEnum(KINDS, dataset.kind, `${path}.kind`),
    tableName: orUndefined(dataset.tableName),
  };
}

/** Lazy where a value can be refused: an update converts only the fields that its mask names. */
const toSettings = (dataset: WireDataset, path: string) => ({
  title: dataset.title,
  get visibility() {
    return fromEnum(VISIBILITIES, dataset.visibility, `${path}.visibility`);
  },
  get status() {
    const { status } = dataset;
    return status === PublicationStatus.UNSPECIFIED
      ? undefined
      : fromEnum(STATUSES, status, `${path}.status`);
  },
  owner: orUndefined(dataset.owner),
  readerRoles: dataset.readerRoles,
  readerSubjects: dataset.readerSubjects,
  get raster() {
    return dataset.raster === undefined ? undefined : toRasterInput(dataset.raster, `${path}.raster`);
  },
  cacheVersion: orUndefined(dataset.cacheVersion),
});

const toRasterInput = (raster: WireRasterTiles, path: string): RasterInput => ({
  tileUrlTemplate: orUndefined(raster.tileUrlTemplate),
  bounds: raster.bounds.length === 0 ? undefined : toBounds(raster.bounds, `${path}.bounds`),
  minzoom: raster.minzoom,
  maxzoom: raster.maxzoom,
  tileSize: orUndefined(raster.tileSize),
  format: orUndefined(raster.format),
});

function toBounds([west, south, east, north]: readonly number[], field: string): Bounds {
  if (west === undefined || south === undefined || east === undefined || north === undefined) {
    throw invalid(field, "must be 4 numbers: west, south, east, north");
  }
  return [west, south, east, north];
}

function fromEnum<Name extends string>(names: Record<Name, number>, value: number, field: string): Name {
  for (const name in names) if (names[name] === value) return name;
  throw invalid(field, "is required");
}

function required(dataset: WireDataset | undefined): WireDataset {
  if (dataset === undefined) throw invalid("dataset", "is required");
  return dataset;
}
