import { describe } from "vitest";
import { postgresUrl } from "../harness/postgres.js";
import { describeAccountStores } from "./account-store-contract.js";
import { describeApiKeyStore } from "./api-key-store-contract.js";
import { describeDatasetStore } from "./dataset-store-contract.js";
import { openEmbeddedFixture, openPostgresFixture } from "./store-fixture.js";

describe("over the embedded database", () => {
  describe("accounts and service tokens", () => describeAccountStores(openEmbeddedFixture));
  describe("datasets", () => describeDatasetStore(openEmbeddedFixture));
  describe("API keys", () => describeApiKeyStore(openEmbeddedFixture));
});

describe.skipIf(!postgresUrl())("over PostgreSQL", () => {
  describe("accounts and service tokens", () => describeAccountStores(openPostgresFixture));
  describe("datasets", () => describeDatasetStore(openPostgresFixture));
  describe("API keys", () => describeApiKeyStore(openPostgresFixture));
});
