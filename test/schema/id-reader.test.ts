import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { BatchGetTileTokensRequestSchema } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { createIdReader } from "../../src/schema/id-reader.js";

const ids = [
  "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0",
  "f2489e9a-d2ee-48e0-88ec-932d5f69181c",
  "00000000-0000-4000-8000-000000000000",
];
const list = ids.map((id) => `"${id}"`);
const reader = createIdReader();
const idsOfJson = reader.listOfJson("datasetIds", "dataset_ids");
const read = (text: string) => idsOfJson(Buffer.from(text));

describe("the ids of a batch in JSON", () => {
  test.each([
    ["as browsers write it", `{"datasetIds":[${list.join(",")}]}`],
    ["in snake case", `{"dataset_ids":[${list.join(",")}]}`],
    ["as Python writes it", `{"dataset_ids": [${list.join(", ")}]}`],
    ["over several lines", JSON.stringify({ dataset_ids: ids }, undefined, 2)],
    ["with the end of a line after it", `{"datasetIds":[${list.join(",")}]}\r\n`],
    ["with a gap before one of them", `{"datasetIds":[${list[0]},${list[1]}, ${list[2]}]}`],
  ])("are read %s", (_how, text) => {
    expect(read(text)).toEqual(ids);
  });

  test.each([
    ["another field", `{"datasetIds":[${list.join(",")}],"x":1}`],
    ["the field twice", `{"datasetIds":[${list[0]}],"datasetIds":[${list[1]}]}`],
    ["the field under both names", `{"datasetIds":[${list[0]}],"dataset_ids":[${list[1]}]}`],
    ["an id that is too short", `{"datasetIds":[${list[0]},"x"]}`],
    [
      "an escape that is an ASCII character but for its upper byte",
      `{"datasetIds":["${"0".repeat(35)}\\u0130"]}`,
    ],
    ["a number", `{"datasetIds":[${list[0]},1]}`],
    ["no list", `{"datasetIds":${list[0]}}`],
    ["none", '{"datasetIds":[]}'],
    ["another kind of blank at its end", `{"datasetIds":[${list.join(",")}]}\u00a0`],
  ])("are none with %s", (_what, text) => {
    expect(read(text)).toBeUndefined();
  });

  test("are none of a message that is cut anywhere", () => {
    const text = `{"datasetIds":[${list.join(",")}]}`;
    for (let end = 0; end < text.length; end += 1) expect(read(text.slice(0, end))).toBeUndefined();
  });
});

test("the ids of a batch in the binary format are those of a message that is whole", () => {
  const message = Buffer.from(
    toBinary(
      BatchGetTileTokensRequestSchema,
      create(BatchGetTileTokensRequestSchema, { datasetIds: [...ids] }),
    ),
  );
  for (let end = 0; end <= message.length; end += 1) {
    const whole = end / (message.length / ids.length);
    const expected = whole >= 1 && Number.isInteger(whole) ? ids.slice(0, whole) : undefined;
    expect(reader.ofProto(message.subarray(0, end))).toEqual(expected);
  }
});

test("an id is told apart from one that differs anywhere, be it known or not", () => {
  const [id = ""] = ids;
  const read = (text: string) => idsOfJson(Buffer.from(`{"datasetIds":["${text}"]}`));
  for (let at = 0; at < id.length; at += 1) {
    if (id[at] === "-") continue;
    const other = `${id.slice(0, at)}${id[at] === "0" ? "1" : "0"}${id.slice(at + 1)}`;
    for (const each of [id, other, id, other]) expect(read(each)).toEqual([each]);
    expect(read(`${id.slice(0, at)}x${id.slice(at + 1)}`)).toBeUndefined();
  }
});

test("an id in another form is not read, whatever its other form is known as", () => {
  const [id = ""] = ids;
  const message = (text: string) => Buffer.from(`{"datasetIds":["${text}"]}`);
  expect(idsOfJson(message(id))).toEqual([id]);
  expect(idsOfJson(message(id.toUpperCase()))).toBeUndefined();
});

test("more ids than are kept are read all the same", () => {
  for (let count = 0; count < 20_000; count += 1) {
    const id = `00000000-0000-4000-8000-${String(count).padStart(12, "0")}`;
    expect(read(`{"datasetIds":["${id}","${ids[0]}"]}`)).toEqual([id, ids[0]]);
  }
});
