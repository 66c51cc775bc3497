import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import { ErrorInfoSchema } from "../../src/gen/proto/google/rpc/error_details_pb.js";

export const refused = (call: Promise<unknown>): Promise<ConnectError> =>
  call.then(
    () => {
      throw new Error("not refused as it should be");
    },
    (reason: unknown) => ConnectError.from(reason),
  );

export const codeOf = async (call: Promise<unknown>): Promise<string> =>
  Code[(await refused(call)).code] ?? "";

/** The fields that an INVALID_ARGUMENT names in its details, all of which its message names too. */
export async function badFields(call: Promise<unknown>): Promise<string[]> {
  const error = await refused(call);
  expect(Code[error.code]).toBe("InvalidArgument");
  const violations = error.findDetails(ViolationsSchema).flatMap(({ violations }) => violations);
  const violated = violations.map(({ field }) =>
    (field?.elements ?? [])
      .map(({ fieldName, subscript: { case: kind, value } }) =>
        kind === "index" ? `${fieldName}[${value}]` : fieldName,
      )
      .join("."),
  );
  const named = error.findDetails(ErrorInfoSchema).flatMap(({ metadata }) => metadata.field ?? []);
  const fields = [...violated, ...named];
  for (const field of fields) expect(error.message).toContain(field);
  return fields;
}
