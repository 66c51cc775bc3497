import type { Account, ServiceToken } from "../../domain/accounts/account.js";
import type { ApiKey, SealedToken } from "../../domain/api-keys/api-key.js";
import type { Bounds, Dataset } from "../../domain/datasets/dataset.js";
import { bytesOfDataset } from "../../domain/datasets/dataset-bytes.js";
import { bytesOfTexts } from "../../domain/text-bytes.js";
import type { Codec } from "./entry.js";

// Positional, because a batch reads 50 of them. Whoever changes an order or a meaning counts FORMAT_VERSION up.

const time = (date: Date | undefined): number | null => date?.getTime() ?? null;
const bytes = (value: Uint8Array): string => Buffer.from(value).toString("base64");

/** Reads the fields one by one, and throws for one of another type: a broken entry must not decide anything. */
function createReader(fields: readonly unknown[]) {
  let index = 0;
  const next = (): unknown => fields[index++] ?? undefined;
  function typed<Type>(is: (value: unknown) => value is Type): Type {
    const value = next();
    if (!is(value)) throw new TypeError(`field ${index - 1} is of another type`);
    return value;
  }
  const isString = (value: unknown): value is string => typeof value === "string";
  const isNumber = (value: unknown): value is number => typeof value === "number";
  const optional = <Type>(is: (value: unknown) => value is Type) =>
    typed((value): value is Type | undefined => value === undefined || is(value));
  const read = {
    text: () => typed(isString),
    optionalText: () => optional(isString),
    number: () => typed(isNumber),
    optionalNumber: () => optional(isNumber),
    flag: () => typed((value): value is boolean => typeof value === "boolean"),
    texts: () => typed((value): value is string[] => Array.isArray(value) && value.every(isString)),
    bounds: () =>
      optional(
        (value): value is Bounds => Array.isArray(value) && value.length === 4 && value.every(isNumber),
      ),
    oneOf: <Choice extends string>(...choices: readonly Choice[]) =>
      typed((value): value is Choice => choices.some((choice) => choice === value)),
    time: () => new Date(typed(isNumber)),
    optionalTime() {
      const value = optional(isNumber);
      return value === undefined ? undefined : new Date(value);
    },
    bytes: () => Buffer.from(typed(isString), "base64"),
    sealed: (): SealedToken => ({ lookupHash: read.bytes(), ciphertext: read.bytes() }),
  };
  return read;
}

export const datasetCodec: Codec<Dataset> = {
  encode: ({ raster, ...dataset }) => [
    dataset.id,
    dataset.accountId,
    dataset.kind,
    dataset.title,
    dataset.tableName,
    dataset.scope,
    dataset.visibility,
    dataset.status,
    dataset.owner,
    dataset.readerRoles,
    dataset.readerSubjects,
    raster.tileUrlTemplate,
    raster.bounds,
    raster.minzoom,
    raster.maxzoom,
    raster.tileSize,
    raster.format,
    dataset.cacheVersion,
    dataset.revision,
    time(dataset.created),
    time(dataset.changed),
  ],
  decode(fields) {
    const read = createReader(fields);
    return {
      id: read.text(),
      accountId: read.text(),
      kind: read.oneOf("vector", "raster"),
      title: read.text(),
      tableName: read.optionalText(),
      scope: read.text(),
      visibility: read.oneOf("public", "restricted", "private"),
      status: read.oneOf("draft", "published"),
      owner: read.optionalText(),
      readerRoles: read.texts(),
      readerSubjects: read.texts(),
      raster: {
        tileUrlTemplate: read.optionalText(),
        bounds: read.bounds(),
        minzoom: read.number(),
        maxzoom: read.number(),
        tileSize: read.number(),
        format: read.text(),
      },
      cacheVersion: read.number(),
      revision: read.number(),
      created: read.time(),
      changed: read.time(),
    };
  },
  bytesOf: bytesOfDataset,
};

// As measured for datasets, without their texts: 2.9 kB for an API key, 0.9 kB for a previous token, 0.25 kB for a compiled
// origin, 1.3 kB for a service token, 0.6 kB for an account.
const API_KEY_BYTES = 3_000;
const PREVIOUS_TOKEN_BYTES = 1_000;
const ORIGIN_RULE_BYTES = 150;
const SERVICE_TOKEN_BYTES = 1_400;
const ACCOUNT_BYTES = 700;

export const apiKeyCodec: Codec<ApiKey> = {
  encode: ({ current, previous, rateLimit, ...key }) => [
    key.id,
    key.accountId,
    key.name,
    key.description,
    key.userAgent,
    key.origins,
    key.enabled,
    time(key.expireTime),
    key.datasetIds,
    bytes(current.lookupHash),
    bytes(current.ciphertext),
    time(key.created),
    time(key.changed),
    time(key.lastUsed),
    time(key.deleted),
    key.revision,
    rateLimit?.requests,
    rateLimit?.windowSeconds,
    ...(previous ? [time(previous.expireTime), bytes(previous.lookupHash), bytes(previous.ciphertext)] : []),
  ],
  decode(fields) {
    const read = createReader(fields);
    const key = {
      id: read.text(),
      accountId: read.text(),
      name: read.text(),
      description: read.text(),
      userAgent: read.text(),
      origins: read.texts(),
      enabled: read.flag(),
      expireTime: read.optionalTime(),
      datasetIds: read.texts(),
      current: read.sealed(),
      created: read.time(),
      changed: read.time(),
      lastUsed: read.optionalTime(),
      deleted: read.optionalTime(),
      revision: read.number(),
    };
    const [requests, windowSeconds] = [read.optionalNumber(), read.optionalNumber()];
    const rateLimit =
      requests === undefined || windowSeconds === undefined ? undefined : { requests, windowSeconds };
    const graceEnd = read.optionalTime();
    const previous = graceEnd && { expireTime: graceEnd, ...read.sealed() };
    return { ...key, rateLimit, previous };
  },
  bytesOf: ({ name, description, userAgent, origins, datasetIds, previous }) =>
    API_KEY_BYTES +
    (previous ? PREVIOUS_TOKEN_BYTES : 0) +
    ORIGIN_RULE_BYTES * origins.length +
    // Origins as they were compiled count as a third copy of everything, which costs little for the rest.
    bytesOfTexts([name, description, userAgent, ...datasetIds, ...origins], 3),
};

export const serviceTokenCodec: Codec<ServiceToken> = {
  encode: (token) => [
    token.id,
    token.accountId,
    token.name,
    bytes(token.secretHash),
    time(token.created),
    time(token.expireTime),
    time(token.revoked),
  ],
  decode(fields) {
    const read = createReader(fields);
    return {
      id: read.text(),
      accountId: read.text(),
      name: read.text(),
      secretHash: read.bytes(),
      created: read.time(),
      expireTime: read.optionalTime(),
      revoked: read.optionalTime(),
    };
  },
  bytesOf: ({ name }) => SERVICE_TOKEN_BYTES + bytesOfTexts([name]),
};

export const accountCodec: Codec<Account> = {
  encode: ({ id, name, created }) => [id, name, time(created)],
  decode(fields) {
    const read = createReader(fields);
    return { id: read.text(), name: read.text(), created: read.time() };
  },
  // It is cached by its name.
  bytesOf: ({ name }) => ACCOUNT_BYTES + bytesOfTexts([name], 3),
};
