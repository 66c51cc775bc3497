import type {
  ServiceToken,
  ServiceTokenCache,
  ServiceTokenStore,
  ServiceTokenTransaction,
} from "../../domain/accounts/account.js";
import { REMEMBERED_MS } from "../../domain/second-memo.js";
import { bytesOfTexts } from "../../domain/text-bytes.js";
import { type CachedEntity, hex, MIB, type Written } from "./entity.js";
import { bytes, codecOf, optional, text, time } from "./fields.js";

/** As measured for datasets, without its name: 1.3 kB. */
const SERVICE_TOKEN_BYTES = 1_400;

/** By the hash of its secret, in hexadecimal. Revoked ones too. */
export const serviceTokenEntity: CachedEntity<
  ServiceToken,
  Pick<ServiceTokenStore, "readBySecretHash">,
  ServiceTokenCache,
  ServiceTokenTransaction
> = {
  name: "service-token",
  maxEntries: 10_000,
  maxBytes: 4 * MIB,
  bytesOf: ({ name }) => SERVICE_TOKEN_BYTES + bytesOfTexts([name]),
  rememberedMs: REMEMBERED_MS,

  codec: codecOf<ServiceToken>({
    id: text,
    accountId: text,
    name: text,
    secretHash: bytes,
    created: time,
    expireTime: optional(time),
    revoked: optional(time),
  }),

  load:
    (truth) =>
    async ([hash = ""]) => {
      const token = await truth.readBySecretHash(Buffer.from(hash, "hex"));
      return new Map(token && [[hash, writtenOf(token)]]);
    },

  lookUps: (cache) => ({
    async lookUp(secretHash) {
      const hash = hex(secretHash);
      return (await cache.getMany([hash])).get(hash)?.value;
    },
  }),

  noting: (writes, note) => ({
    ...writes,
    async insert(token) {
      await writes.insert(token);
      note(hex(token.secretHash), writtenOf(token));
    },
    async revoke(id, at) {
      const token = await writes.revoke(id, at);
      if (token !== undefined) note(hex(token.secretHash), writtenOf(token));
      return token;
    },
  }),
};

/** A token changes once, when it is revoked. */
const writtenOf = (token: ServiceToken) =>
  ({ revision: token.revoked === undefined ? 1 : 2, value: token }) satisfies Written<ServiceToken>;
