import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  requireAdministrator,
  requireManager,
  requireOperator,
  requirePrincipal,
} from "../domain/identity/management.js";
import type { Caller } from "../domain/identity/principal.js";
import { type AnswerPolicy, CROSS_ORIGIN, SAME_ORIGIN } from "../front/answer-headers.js";
import { Authorization } from "../gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import { Health } from "../gen/proto/grpc/health/v1/health_pb.js";
import { AccountService } from "../gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetService } from "../gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../gen/proto/tilegate/v1/tile_token_service_pb.js";

/** What a call may cost before it is known what it asks for, and whose pages may make it. */
export interface RpcRules {
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
  readonly policy: AnswerPolicy;
  /** Whether only those may call whom TRUSTED_PROXIES names: they tell what others sent. */
  readonly isForProxies?: true;
}

export interface RpcMethod extends RpcRules {
  readonly method: DescMethod;
  /** `tilegate.v1.TileTokenService/GetTileToken`: of log lines and metrics. */
  readonly name: string;
}

/** The largest message of a usual call, a key with all its origins and datasets, is half of it. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

/** That key has 600. */
const MAX_VALUES = 2_048;

/** 500 datasets, each with its usual readers. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** The same with all the readers that they may have. */
const MAX_BATCH_VALUES = 150_000;

const usual = { maxBytes: MAX_MESSAGE_BYTES, maxValues: MAX_VALUES };

/** For whoever's credentials resolve, or who sent none, from anybody's pages. */
const OPEN: RpcRules = { permit: () => {}, ...usual, policy: CROSS_ORIGIN };

const only = (permit: (caller: Caller) => void): RpcRules => ({ permit, ...usual, policy: SAME_ORIGIN });

const MANAGERS = only(requireManager);
const ADMINISTRATORS = only(requireAdministrator);
const OPERATOR = only(requireOperator);

/** The name of a service. */
const PROBE: RpcRules = { maxBytes: 4 * 1024, maxValues: 16, policy: SAME_ORIGIN };

/** All of a service's methods: one that is forgotten doesn't compile. */
type RulesOf<Service extends DescService> = Readonly<Record<keyof Service["method"], RpcRules>>;

const ofTileTokens: RulesOf<typeof TileTokenService> = {
  getTileToken: OPEN,
  batchGetTileTokens: OPEN,
  verifyTileToken: OPEN,
  revokeTileTokens: MANAGERS,
};

const ofApiKeys: RulesOf<typeof ApiKeyService> = {
  listApiKeys: MANAGERS,
  createApiKey: MANAGERS,
  getApiKey: MANAGERS,
  updateApiKey: MANAGERS,
  deleteApiKey: MANAGERS,
  undeleteApiKey: MANAGERS,
  rotateApiKey: MANAGERS,
  verifyApiKey: MANAGERS,
};

const ofDatasets: RulesOf<typeof DatasetService> = {
  createDataset: MANAGERS,
  getDataset: MANAGERS,
  listDatasets: MANAGERS,
  updateDataset: MANAGERS,
  deleteDataset: MANAGERS,
  batchUpsertDatasets: { ...MANAGERS, maxBytes: MAX_BATCH_BYTES, maxValues: MAX_BATCH_VALUES },
};

const ofAccounts: RulesOf<typeof AccountService> = {
  createAccount: OPERATOR,
  getAccount: only(requirePrincipal),
  listAccounts: OPERATOR,
  createServiceToken: ADMINISTRATORS,
  listServiceTokens: ADMINISTRATORS,
  revokeServiceToken: ADMINISTRATORS,
};

/** Whose request it is that Envoy asks about, the message tells; Envoy itself needs no credential, but TRUSTED_PROXIES. */
const ofAuthorization: RulesOf<typeof Authorization> = {
  check: { ...OPEN, policy: SAME_ORIGIN, isForProxies: true },
};

const ofHealth: RulesOf<typeof Health> = { check: PROBE, list: PROBE, watch: PROBE };

/** The services of the contract: those that health reports on and reflection lists. */
export const SERVICES: readonly DescService[] = [
  TileTokenService,
  ApiKeyService,
  DatasetService,
  AccountService,
  Authorization,
];

const methodsOf = <Service extends DescService>(
  service: Service,
  rules: RulesOf<Service>,
): readonly RpcMethod[] =>
  service.methods.map((method) => {
    const own = Reflect.get(rules, method.localName) as RpcRules;
    return { ...own, method, name: `${service.typeName}/${method.name}` };
  });

/** Every RPC that the adapter serves. */
export const RPC_METHODS: readonly RpcMethod[] = [
  ...methodsOf(TileTokenService, ofTileTokens),
  ...methodsOf(ApiKeyService, ofApiKeys),
  ...methodsOf(DatasetService, ofDatasets),
  ...methodsOf(AccountService, ofAccounts),
  ...methodsOf(Authorization, ofAuthorization),
  ...methodsOf(Health, ofHealth),
];
