import { describe } from "vitest";
import { postgresUrl } from "../harness/postgres.js";
import { redisUrl } from "../harness/redis.js";
import { describeAccountStores } from "./account-store-contract.js";
import { describeApiKeyStore } from "./api-key-store-contract.js";
import { openCachedFixture } from "./cached-fixture.js";
import { describeDatasetStore } from "./dataset-store-contract.js";

// Caches change what a call costs and nothing of what it answers: the same contracts as without.

describe.skipIf(!postgresUrl())("cached in the process", () => {
  describe("accounts and service tokens", () => describeAccountStores(() => openCachedFixture(undefined)));
  describe("datasets", () => describeDatasetStore(() => openCachedFixture(undefined)));
  describe("API keys", () => describeApiKeyStore(() => openCachedFixture(undefined)));
});

describe.skipIf(!postgresUrl() || !redisUrl())("cached in the process and in Redis", () => {
  describe("accounts and service tokens", () => describeAccountStores(() => openCachedFixture(redisUrl())));
  describe("datasets", () => describeDatasetStore(() => openCachedFixture(redisUrl())));
  describe("API keys", () => describeApiKeyStore(() => openCachedFixture(redisUrl())));
});
