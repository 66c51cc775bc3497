import { create, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Violation } from "@bufbuild/protovalidate";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DomainError } from "../../src/domain/errors.js";
import {
  BatchUpsertDatasetsRequestSchema,
  CreateDatasetRequestSchema,
} from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { BatchGetTileTokensRequestSchema } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { inspectMessage } from "../../src/schema/inspect.js";

const MAX_VALUES = 100_000;

const lists = fc.array(fc.string(), { maxLength: 120 });

describe.each(["json", "binary"] as const)("a message in %s", (form) => {
  test("is passed as long as no list is longer than its rule says, and named by the field else", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(lists, lists), { maxLength: 5 }), (readers) => {
        const message = create(BatchUpsertDatasetsRequestSchema, {
          datasets: readers.map(([readerRoles, readerSubjects]) => ({ readerRoles, readerSubjects })),
        });
        const bytes =
          form === "json"
            ? Buffer.from(toJsonString(BatchUpsertDatasetsRequestSchema, message))
            : Buffer.from(toBinary(BatchUpsertDatasetsRequestSchema, message));
        const found = inspectMessage(BatchUpsertDatasetsRequestSchema, form, bytes, MAX_VALUES);
        const tooLong = readers.findIndex(([roles, subjects]) => roles.length > 100 || subjects.length > 100);
        if (tooLong === -1) {
          expect(found).toBeUndefined();
        } else {
          expect(found).toBeInstanceOf(Violation);
          expect(String(found)).toMatch(
            new RegExp(`^datasets\\[${tooLong}\\]\\.reader_(roles|subjects): must contain no more than 100`),
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** The bodies of a stranger who pays two bytes for an item that costs us a microsecond. */
describe("an amplifying body (4 MiB for 4 kB of gzip)", () => {
  const binary = (...pattern: number[]) => Buffer.alloc(4 << 20, Buffer.from(pattern));
  const json = (begin: string, item: string) =>
    Buffer.concat([Buffer.from(begin), Buffer.alloc(4 << 20, item)]);
  test.each([
    ["2 M empty datasets", BatchUpsertDatasetsRequestSchema, "binary", binary(0x12, 0), "datasets"],
    [
      "empty datasets in JSON",
      BatchUpsertDatasetsRequestSchema,
      "json",
      json('{"datasets":[', "{},"),
      "datasets",
    ],
    ["2 M empty ids", BatchGetTileTokensRequestSchema, "binary", binary(0x0a, 0), "dataset_ids"],
    [
      "empty ids in JSON",
      BatchGetTileTokensRequestSchema,
      "json",
      json('{"datasetIds":[', '"",'),
      "dataset_ids",
    ],
    [
      "a megabyte of text",
      CreateDatasetRequestSchema,
      "binary",
      Buffer.concat([Buffer.from([0x0a, 0x84, 0x80, 0x40, 0x22, 0x80, 0x80, 0x40]), Buffer.alloc(1 << 20)]),
      "title",
    ],
    [
      "packed numbers",
      CreateDatasetRequestSchema,
      "binary",
      Buffer.concat([
        Buffer.from([0x0a, 0x88, 0x80, 0x40, 0x5a, 0x84, 0x80, 0x40, 0x12, 0x80, 0x80, 0x40]),
        Buffer.alloc(1 << 20),
      ]),
      "dataset.raster.bounds",
    ],
    ["1.4 M unknown fields", CreateDatasetRequestSchema, "binary", binary(0xf8, 7, 0), "body"],
    ["unknown members", CreateDatasetRequestSchema, "json", json("{", '"x":0,'), "body"],
  ] as const)("of %s is refused, naming what is too long", (_name, schema, form, bytes, field) => {
    const found = inspectMessage(schema, form, bytes, 2_048);
    expect(found instanceof Violation || found instanceof DomainError).toBe(true);
    expect(found instanceof Violation ? String(found) : found?.message).toContain(field);
  });

  test("of empty readers inside a dataset is refused, naming the list", () => {
    const readers = Buffer.alloc(1 << 20, Buffer.from([0x4a, 0]));
    const message = toBinary(CreateDatasetRequestSchema, create(CreateDatasetRequestSchema, { dataset: {} }));
    // The dataset's length as a varint of 4 bytes.
    const length = Buffer.from([0x80, 0x80, 0x40]);
    const bytes = Buffer.concat([message.subarray(0, 1), length, readers]);
    expect(fromBinary(CreateDatasetRequestSchema, bytes).dataset?.readerRoles.length).toBe(1 << 19);
    expect(String(inspectMessage(CreateDatasetRequestSchema, "binary", bytes, MAX_VALUES))).toMatch(
      /^dataset\.reader_roles: must contain no more than 100/,
    );
  });
});

test("a member that is there twice is refused by its name, of which no more than 100 characters are echoed", () => {
  const refusal = (text: string) =>
    inspectMessage(CreateDatasetRequestSchema, "json", Buffer.from(text), MAX_VALUES);
  expect(refusal('{"dataset":{"title":"a","title":"b"}}')).toMatchObject({ field: "dataset.title" });
  const inList = '{"dataset":{"bounds":[1,{}],"readerRoles":["a",{"b":[{"x":"y,"},{"c":1,"c":2}]}]}}';
  expect(refusal(inList)).toMatchObject({ field: "dataset.readerRoles[1].b[1].c" });
  const name = "x".repeat(10_000);
  expect(refusal(`{"${name}":1,"${name}":2}`)).toMatchObject({ field: "x".repeat(100) });
});

test.each([
  ["a group", Buffer.from([0x1b, 0x08, 0, 0x1c]), "has a group"],
  ["a group of 2 M unknown fields", Buffer.alloc(4 << 20, Buffer.from([0x1b, 0])), "has a group"],
  ["the beginning of nested groups", Buffer.alloc(64 << 10, 0x1b), "has a group"],
  ["a wire type that there isn't", Buffer.of(0x0f), "is malformed"],
])("%s, which hides what it holds from the count, is refused at sight", (_what, message, problem) => {
  const found = inspectMessage(BatchGetTileTokensRequestSchema, "binary", message, MAX_VALUES);
  expect(found).toBeInstanceOf(DomainError);
  expect(String(found)).toContain(problem);
});
