import { describe } from "vitest";
import { describeApiKeyStore } from "../../stores/api-key-store-contract.js";
import { createMemoryApiKeyStore, createMemoryUnitOfWork } from "./memory-api-key-store.js";

describe("the store that the domain's tests use", () => {
  describeApiKeyStore(async () => {
    const apiKeys = createMemoryApiKeyStore();
    const accounts = { insert: async () => {}, read: async () => undefined, readSole: async () => undefined };
    return {
      apiKeys,
      unitOfWork: createMemoryUnitOfWork({ apiKeys, accounts }),
      [Symbol.asyncDispose]: async () => {},
    };
  });
});
