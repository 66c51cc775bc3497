import { Code, ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import {
  type BadRequest,
  BadRequestSchema,
  ErrorInfoSchema,
} from "../../src/gen/proto/google/rpc/error_details_pb.js";

export const refused = (call: Promise<unknown>): Promise<ConnectError> =>
  call.then(
    () => {
      throw new Error("not refused as it should be");
    },
    (reason: unknown) => ConnectError.from(reason),
  );

export const codeOf = async (call: Promise<unknown>): Promise<string> =>
  Code[(await refused(call)).code] ?? "";

/** The fields that an INVALID_ARGUMENT names. */
export async function badFields(call: Promise<unknown>): Promise<string[]> {
  const error = await refused(call);
  expect(Code[error.code]).toBe("InvalidArgument");
  expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ domain: "tilegate", reason: "INVALID_FIELD" }]);
  return error.findDetails(BadRequestSchema).flatMap(fieldsOf);
}

const fieldsOf = ({ fieldViolations }: BadRequest): string[] => fieldViolations.map(({ field }) => field);
