import { describe } from "vitest";
import { describeApiKeyStore } from "../../stores/api-key-store-contract.js";
import { createMemoryApiKeyStore } from "./memory-api-key-store.js";

describe("the store that the domain's tests use", () => {
  describeApiKeyStore(async () => ({
    apiKeys: createMemoryApiKeyStore(),
    accounts: { insert: async () => {} },
    [Symbol.asyncDispose]: async () => {},
  }));
});
