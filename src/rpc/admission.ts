import type { DescMethod } from "@bufbuild/protobuf";
import {
  requireAdministrator,
  requireManager,
  requireOperator,
  requirePrincipal,
} from "../domain/identity/management.js";
import type { Caller } from "../domain/identity/principal.js";
import { AccountService } from "../gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetService } from "../gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";

/** What a call may cost before it is known what it asks for. */
export interface Admission {
  /**
   * Whether such a caller may call the method at all: told before the body is read. Which resources are theirs is the use
   * case's affair. @throws DomainError
   */
  permit(caller: Caller): void;
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

const anybody = () => {};

const usual = (permit: Admission["permit"]): Admission => ({
  permit,
  maxBytes: MAX_MESSAGE_BYTES,
  maxValues: MAX_VALUES,
});

/** By service, else by method. A method that stands nowhere is not served. */
const ADMISSIONS = new Map<object, Admission>([
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

/** Undefined for the standard services, which know no callers: their messages are small, and their streams few. */
export const admissionOf = (method: DescMethod): Admission | undefined =>
  ADMISSIONS.get(method) ?? ADMISSIONS.get(method.parent);
