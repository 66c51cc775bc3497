import { HttpError } from "./problem.js";

/** One entry of a 422 answer, as FastAPI (and so GeoLens) gives it. */
export interface ErrorEntry {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly input: unknown;
  readonly ctx?: Readonly<Record<string, unknown>>;
}

export const unprocessable = (detail: readonly ErrorEntry[]): HttpError =>
  new HttpError(422, "The request is not valid", { body: { detail } });

type Location = ErrorEntry["loc"];

export const missing = (loc: Location, input: unknown): ErrorEntry => ({
  type: "missing",
  loc,
  msg: "Field required",
  input,
});

export const notAnObject = (loc: Location, input: unknown): ErrorEntry => ({
  type: "model_attributes_type",
  loc,
  msg: "Input should be a valid dictionary or object to extract fields from",
  input,
});

export const notAList = (loc: Location, input: unknown): ErrorEntry => ({
  type: "list_type",
  loc,
  msg: "Input should be a valid list",
  input,
});

export const notAUuid = (loc: Location, input: unknown): ErrorEntry =>
  typeof input === "string"
    ? {
        type: "uuid_parsing",
        loc,
        msg: "Input should be a valid UUID",
        input,
        ctx: { error: "expected 32 hexadecimal digits in groups of 8-4-4-4-12" },
      }
    : { type: "uuid_type", loc, msg: "UUID input should be a string, bytes or UUID object", input };

export const tooShort = (loc: Location, input: readonly unknown[], min: number): ErrorEntry => ({
  type: "too_short",
  loc,
  msg: `List should have at least ${min} item${min === 1 ? "" : "s"} after validation, not ${input.length}`,
  input,
  ctx: { field_type: "List", min_length: min, actual_length: input.length },
});

export const tooLong = (loc: Location, input: readonly unknown[], max: number): ErrorEntry => ({
  type: "too_long",
  loc,
  msg: `List should have at most ${max} item${max === 1 ? "" : "s"} after validation, not ${input.length}`,
  input,
  ctx: { field_type: "List", max_length: max, actual_length: input.length },
});
