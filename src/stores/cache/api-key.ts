import type {
  ApiKey,
  ApiKeyCache,
  ApiKeyStore,
  ApiKeyTransaction,
  PreviousToken,
  RateLimit,
  SealedToken,
} from "../../domain/api-keys/api-key.js";
import { unavailable } from "../../domain/errors.js";
import { REMEMBERED_MS } from "../../domain/second-memo.js";
import { bytesOfTexts } from "../../domain/text-bytes.js";
import { type CachedEntity, hex, MIB, type Written } from "./entity.js";
import { bytes, codecOf, flag, number, optional, record, text, texts, time } from "./fields.js";

// As measured for datasets, without their texts: 2.9 kB for an API key, 0.9 kB for a previous token, 0.25 kB for a compiled origin; for
// compiled IP ranges 3.8 kB, with one, and 0.27 kB for each other.
const API_KEY_BYTES = 3_000;
const PREVIOUS_TOKEN_BYTES = 1_000;
const ORIGIN_RULE_BYTES = 150;
const IP_RANGES_BYTES = 3_500;
const IP_RANGE_BYTES = 300;

/** By each of its look-up hashes, in hexadecimal: that of its current token, and of the previous one. Deleted ones too. */
export const apiKeyEntity: CachedEntity<
  ApiKey,
  Pick<ApiKeyStore, "readByTokenHash">,
  ApiKeyCache,
  ApiKeyTransaction
> = {
  name: "api-key",

  // 5,000 usual ones fit.
  maxEntries: 10_000,
  maxBytes: 16 * MIB,
  bytesOf: ({ name, description, userAgent, origins, allowedIps, datasetIds, previous }) =>
    API_KEY_BYTES +
    (previous ? PREVIOUS_TOKEN_BYTES : 0) +
    ORIGIN_RULE_BYTES * origins.length +
    (allowedIps.length > 0 ? IP_RANGES_BYTES : 0) +
    IP_RANGE_BYTES * allowedIps.length +
    // Origins as they were compiled count as a third copy of everything, which costs little for the rest.
    bytesOfTexts([name, description, userAgent, ...datasetIds, ...origins, ...allowedIps], 3),
  rememberedMs: REMEMBERED_MS,

  codec: codecOf<ApiKey>({
    id: text,
    accountId: text,
    name: text,
    description: text,
    userAgent: text,
    origins: texts,
    allowedIps: texts,
    enabled: flag,
    expireTime: optional(time),
    datasetIds: texts,
    current: record<SealedToken>({ lookupHash: bytes, ciphertext: bytes }),
    created: time,
    changed: time,
    lastUsed: optional(time),
    deleted: optional(time),
    revision: number,
    rateLimit: optional(record<RateLimit>({ requests: number, windowSeconds: number })),
    previous: optional(record<PreviousToken>({ expireTime: time, lookupHash: bytes, ciphertext: bytes })),
  }),

  load: (truth) => async (hashes) => {
    const key = await truth.readByTokenHash(hashes.map((hash) => Buffer.from(hash, "hex")));
    return new Map(key && hashesOf(key).map((hash) => [hash, { value: key, revision: key.revision }]));
  },

  lookUps: (cache) => ({
    async lookUp(tokenHashes) {
      const hashes = tokenHashes.map(hex);
      const entries = await cache.getMany(hashes);
      const found = hashes.map((hash) => entries.get(hash)?.value).find((key) => key !== undefined);
      if (found === undefined && entries.size < new Set(hashes).size) {
        throw unavailable("the database", new Error("a part of the token's hashes can't be looked up"));
      }
      return found;
    },
  }),

  noting(writes, note) {
    const noteHashes = (of: ApiKey, written: Written<ApiKey>) => {
      for (const hash of hashesOf(of)) note(hash, written);
    };
    return {
      ...writes,
      async insert(key) {
        await writes.insert(key);
        noteHashes(key, { revision: key.revision, value: key });
      },
      async replace(key, former) {
        await writes.replace(key, former);
        const { revision } = key;
        // Those that it has no more come first: most of them it has still.
        noteHashes(former, { revision, value: undefined });
        noteHashes(key, { revision, value: key });
      },
    };
  },
};

const hashesOf = ({ current, previous }: ApiKey): string[] =>
  [current, ...(previous ? [previous] : [])].map(({ lookupHash }) => hex(lookupHash));
