import type {
  Account,
  AccountCache,
  AccountStore,
  AccountTransaction,
} from "../../domain/accounts/account.js";
import { bytesOfTexts } from "../../domain/text-bytes.js";
import { type CachedEntity, MIB } from "./entity.js";
import { codecOf, text, time } from "./fields.js";

/** As measured for datasets, without its name: 0.6 kB. */
const ACCOUNT_BYTES = 700;

/** The key of the account that is the only one. A name follows a colon, so none is mistaken for it. */
const SOLE = "only";

const keyOf = (name: string): string => `:${name}`;

/** By what a JWT's account claim tells: its name, or nothing where there is only one. Accounts never change or go. */
export const accountEntity: CachedEntity<
  Account,
  Pick<AccountStore, "readByName" | "readSole">,
  AccountCache,
  AccountTransaction
> = {
  name: "account",
  maxEntries: 10_000,
  maxBytes: 2 * MIB,
  // The key is its name.
  bytesOf: ({ name }) => ACCOUNT_BYTES + bytesOfTexts([name], 3),
  rememberedMs: 0,

  codec: codecOf<Account>({ id: text, name: text, created: time }),

  load:
    (truth) =>
    async ([key = ""]) => {
      const account =
        key === SOLE ? await truth.readSole() : await truth.readByName(key.slice(keyOf("").length));
      return new Map(account && [[key, { revision: 1, value: account }]]);
    },

  lookUps(cache) {
    const lookUp = async (key: string) => (await cache.getMany([key])).get(key)?.value;
    return { lookUpByName: (name) => lookUp(keyOf(name)), lookUpSole: () => lookUp(SOLE) };
  },

  noting: (writes, note) => ({
    ...writes,
    async insert(account) {
      await writes.insert(account);
      note(keyOf(account.name), { revision: 1, value: account });
      // Once there are two, there is never again only one.
      const sole = await writes.readSole();
      note(SOLE, { revision: sole === undefined ? 2 : 1, value: sole });
    },
  }),
};
