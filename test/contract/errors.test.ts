import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { expect, test } from "vitest";
import { ERROR_REASONS, type ErrorReason } from "../../src/domain/errors.js";
import { BadRequestSchema, ErrorInfoSchema } from "../../src/gen/proto/google/rpc/error_details_pb.js";
import { STATUSES } from "../../src/rest/problem.js";
import { CODES } from "../../src/rpc/errors.js";

const document = readFileSync("docs/errors.md", "utf8");

/** The cells of a table's rows, by the heading above it. */
function tableOf(heading: string): string[][] {
  const [, section = ""] = document.split(`## ${heading}\n`);
  const lines = section.split("\n## ")[0]?.split("\n") ?? [];
  return lines
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim().replaceAll("`", "")),
    );
}

test("docs/errors.md lists every reason, with its kind, and no other", () => {
  const rows = tableOf("Reasons");
  expect(rows.map(([reason, kind]) => [reason, kind]).sort()).toEqual(Object.entries(ERROR_REASONS).sort());
  for (const row of rows)
    expect(
      row.every((cell) => cell !== ""),
      row[0],
    ).toBe(true);
});

test("docs/errors.md lists every kind, with its code and statuses", () => {
  const rows = tableOf("Kinds").map(([kind = "", code = "", grpc, connect, rest]) => [
    kind,
    [code.toLowerCase(), Number(grpc), Number(connect), Number(rest)],
  ]);
  const kinds = [...new Set(Object.values(ERROR_REASONS))];
  // Connect maps codes to statuses by itself; that of "overloaded" is corrected.
  const connectStatus: Partial<Record<Code, number>> = {
    [Code.InvalidArgument]: 400,
    [Code.Unauthenticated]: 401,
    [Code.PermissionDenied]: 403,
    [Code.NotFound]: 404,
    [Code.AlreadyExists]: 409,
    [Code.Aborted]: 409,
    [Code.ResourceExhausted]: 429,
    [Code.Unavailable]: 503,
  };
  expect(Object.fromEntries(rows)).toEqual(
    Object.fromEntries(
      kinds.map((kind) => {
        const code = CODES[kind];
        const connect = kind === "overloaded" ? 503 : connectStatus[code];
        return [kind, [codeToString(code), code, connect, STATUSES[kind]]];
      }),
    ),
  );
});

const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.startsWith("gen/"))
  .map((path) => readFileSync(join("src", path), "utf8"))
  .join("\n");

test("every reason is given somewhere, and only with the kind that it is listed under", () => {
  const given = [...sources.matchAll(/new DomainError\(\s*"(\w+)",\s*"(\w+)"/g)];
  expect(given.length).toBeGreaterThan(10);
  for (const [, kind, reason] of given) expect(ERROR_REASONS[reason as ErrorReason], reason).toBe(kind);
  const unused = Object.keys(ERROR_REASONS).filter((reason) => !sources.includes(`"${reason}"`));
  expect(unused).toEqual([]);
});

test("the examples' details are what they are said to be", () => {
  const [example = ""] = /^\{"code".*$/m.exec(document) ?? [];
  const { details } = JSON.parse(example) as { details: { type: string; value: string; debug: unknown }[] };
  const decoded = details.map(({ type, value }) => {
    const schema = type === ErrorInfoSchema.typeName ? ErrorInfoSchema : BadRequestSchema;
    return toJson(schema, fromBinary(schema, base64Decode(value)));
  });
  expect(decoded).toEqual(details.map(({ debug }) => debug));
});
