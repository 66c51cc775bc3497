import type { DescMethod } from "@bufbuild/protobuf";
import {
  requireAdministrator,
  requireManager,
  requireOperator,
  requirePrincipal,
} from "../domain/identity/management.js";
import type { Caller } from "../domain/identity/principal.js";
import { Health } from "../gen/proto/grpc/health/v1/health_pb.js";
import { AccountService } from "../gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetService } from "../gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";

/** What a call may cost before it is known what it asks for. */
export interface Admission {
  /**
   * Whether such a caller may call the method at all: told before the body is read. Which resources are theirs is the use
   * case's affair. Absent: it doesn't matter who calls, credentials are not looked at, and the call needs no place.
   * @throws DomainError
   */
  readonly permit?: (caller: Caller) => void;
  /** Of the message, as it is sent and once it is inflated. */
  readonly maxBytes: number;
  /** Fields and items in the message. */
  readonly maxValues: number;
}

/** The largest message of a usual call, a key with all its origins and datasets, is half of it. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

/** That key has 600. */
const MAX_VALUES = 2_048;

/** 500 datasets, each with its usual readers. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** The same with all the readers that they may have. */
const MAX_BATCH_VALUES = 150_000;

/** The name of a service. */
const PROBE: Admission = { maxBytes: 4 * 1024, maxValues: 16 };

const anybody = () => {};

const usual = (permit: (caller: Caller) => void): Admission => ({
  permit,
  maxBytes: MAX_MESSAGE_BYTES,
  maxValues: MAX_VALUES,
});

/** By service, else by method. A method that stands nowhere is not served. */
const ADMISSIONS = new Map<object, Admission>([
  [Health, PROBE],
  [TileTokenService, usual(anybody)],
  [TileTokenService.method.revokeTileTokens, usual(requireManager)],
  [ApiKeyService, usual(requireManager)],
  [DatasetService, usual(requireManager)],
  [
    DatasetService.method.batchUpsertDatasets,
    { permit: requireManager, maxBytes: MAX_BATCH_BYTES, maxValues: MAX_BATCH_VALUES },
  ],
  [AccountService, usual(requireOperator)],
  [AccountService.method.getAccount, usual(requirePrincipal)],
  [AccountService.method.createServiceToken, usual(requireAdministrator)],
  [AccountService.method.listServiceTokens, usual(requireAdministrator)],
  [AccountService.method.revokeServiceToken, usual(requireAdministrator)],
]);

/** @throws Error for a method that has none: a defect, which must show when the service starts. */
export function admissionOf(method: DescMethod): Admission {
  const admission = ADMISSIONS.get(method) ?? ADMISSIONS.get(method.parent);
  if (admission === undefined) throw new Error(`${method.parent.typeName}/${method.name} has no admission`);
  return admission;
}
