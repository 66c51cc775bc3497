import { constants, open } from "node:fs/promises";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import type { DatasetInput } from "../domain/datasets/dataset-rules.js";
import { DomainError, invalid } from "../domain/errors.js";
import { DatasetSchema } from "../gen/proto/tilegate/v1/dataset_pb.js";
import { findDuplicateMember } from "../json/duplicate-members.js";
import { toInput } from "../rpc/dataset-service.js";
import { invalidRequest, requireStorableText, violationsOf } from "../schema/validate.js";
import { escapeControls } from "./output.js";

/** Some 440,000 datasets, which take 0.4 GB of memory to read. A file is one transaction, so it can't be taken in parts. */
const MAX_FILE_MIB = 64;

/** Enough to see what kind of mistake it is. */
const MAX_REPORTED = 20;

const ENUM_PREFIXES: Record<string, string> = {
  kind: "DATASET_KIND_",
  visibility: "DATASET_VISIBILITY_",
  status: "PUBLICATION_STATUS_",
};

/**
 * The datasets of an import file: a JSON array of Dataset messages, or an object whose `datasets` is one. Field names
 * in snake or camel case; enum values also in short (`vector`, `public`, `draft`). UTF-8, up to 64 MiB, in a regular file.
 * @throws DomainError that names every bad row by index and field, up to 20 of them.
 */
export async function readImportFile(path: string): Promise<DatasetInput[]> {
  const rows = parseRows(await readText(path));
  const problems: string[] = [];
  const inputs: DatasetInput[] = [];
  for (const [index, row] of rows.entries()) {
    try {
      inputs.push(parseRow(row, `datasets[${index}]`));
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      // On lines of their own: what a message quotes of the file must not begin another.
      problems.push(escapeControls(error.message));
    }
  }
  if (problems.length === 0) return inputs;
  const unreported = problems.length - MAX_REPORTED;
  const lines = [...problems.slice(0, MAX_REPORTED), ...(unreported > 0 ? [`and ${unreported} more`] : [])];
  throw new DomainError("invalid_argument", "INVALID_FILE", `nothing was imported:\n  ${lines.join("\n  ")}`);
}

async function readText(path: string): Promise<string> {
  try {
    // Without O_NONBLOCK, opening a FIFO waits for somebody to write to it. What it is, is asked of what was opened: a
    // path may be another's a moment later.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await file.stat();
    if (!stats.isFile()) throw invalid("FILE", "is not a regular file");
    // Some that the kernel makes up say so too, and never end.
    if (stats.size === 0) throw invalid("FILE", "is empty");
    if (stats.size > MAX_FILE_MIB * 2 ** 20) throw invalid("FILE", `is larger than ${MAX_FILE_MIB} MiB`);
    return decode(await file.readFile());
  } catch (error) {
    if (error instanceof DomainError) throw error;
    throw invalid("FILE", escapeControls(error instanceof Error ? error.message : "can't be read"));
  }
}

/** A byte order mark is no part of the text, and editors put one there. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw invalid("FILE", "is not UTF-8");
  }
}

function parseRows(text: string): JsonValue[] {
  let parsed: JsonValue;
  try {
    parsed = JSON.parse(text) as JsonValue;
  } catch (error) {
    const why = escapeControls(error instanceof Error ? error.message : String(error));
    throw invalid("FILE", `is not valid JSON: ${why}`);
  }
  // A restriction that is there twice must not be picked from.
  const repeated = findDuplicateMember(text);
  if (repeated !== undefined)
    throw invalid("FILE", `has the member ${JSON.stringify(repeated)} twice in one object`);
  const rows = isObject(parsed) ? parsed.datasets : parsed;
  if (!Array.isArray(rows))
    throw invalid("FILE", "must be an array of datasets, or an object with one in `datasets`");
  if (rows.length === 0) throw invalid("FILE", "holds no dataset");
  return rows;
}

function parseRow(row: JsonValue, path: string): DatasetInput {
  if (!isObject(row)) throw invalid(path, "must be an object");
  const expanded = Object.entries(row).map(([name, value]) => [name, expandEnum(name, value)]);
  const dataset = parseMessage(Object.fromEntries(expanded) as JsonObject, path);
  const violations = violationsOf(DatasetSchema, dataset);
  if (violations.length > 0) throw invalidRequest(violations, `${path}.`);
  requireStorableText(DatasetSchema, dataset, `${path}.`);
  return toInput(dataset, path);
}

function parseMessage(row: JsonObject, path: string) {
  try {
    return fromJson(DatasetSchema, row);
  } catch (error) {
    throw invalid(path, error instanceof Error ? error.message : "is malformed");
  }
}

function expandEnum(name: string, value: JsonValue | undefined): JsonValue | undefined {
  const prefix = ENUM_PREFIXES[name];
  if (prefix === undefined || typeof value !== "string" || value.startsWith(prefix)) return value;
  return prefix + value.toUpperCase();
}

const isObject = (value: JsonValue): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
