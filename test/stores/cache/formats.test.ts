import { expect, test } from "vitest";
import { accountEntity } from "../../../src/stores/cache/account.js";
import { apiKeyEntity } from "../../../src/stores/cache/api-key.js";
import { datasetEntity } from "../../../src/stores/cache/dataset.js";
import { serialize } from "../../../src/stores/cache/entry.js";
import { scopeEntity } from "../../../src/stores/cache/scope.js";
import { serviceTokenEntity } from "../../../src/stores/cache/service-token.js";

const at = (second: number) => new Date(Date.UTC(2026, 10, 21, 10, 0, second, 123));
const bytes = (value: number) => new Uint8Array(32).fill(value);

const dataset = {
  id: "dddddddd-0000-4000-8000-000000000004",
  accountId: "aaaaaaaa-0000-4000-8000-000000000001",
  kind: "raster",
  title: "title",
  tableName: "table",
  scope: "scope",
  visibility: "restricted",
  status: "draft",
  owner: "owner",
  readerRoles: ["role"],
  readerSubjects: ["subject"],
  raster: {
    tileUrlTemplate: "/{z}/{x}/{y}",
    bounds: [-1, -2, 3, 4.5],
    minzoom: 1,
    maxzoom: 2,
    tileSize: 512,
    format: "webp",
  },
  cacheVersion: 5,
  revokedUntilExp: 1_800_000_900,
  revision: 6,
  created: at(1),
  changed: at(2),
} as const;

const apiKey = {
  id: "cccccccc-0000-4000-8000-000000000003",
  accountId: "aaaaaaaa-0000-4000-8000-000000000001",
  name: "name",
  description: "description",
  userAgent: "agent",
  origins: ["origin"],
  allowedIps: ["2001:db8::/32"],
  enabled: false,
  expireTime: at(1),
  datasetIds: ["dddddddd-0000-4000-8000-000000000004"],
  rateLimit: { requests: 7, windowSeconds: 8 },
  current: { lookupHash: bytes(1), ciphertext: bytes(2) },
  previous: { lookupHash: bytes(3), ciphertext: bytes(4), expireTime: at(2) },
  created: at(3),
  changed: at(4),
  lastUsed: at(5),
  deleted: at(6),
  revision: 9,
};

const serviceToken = {
  id: "bbbbbbbb-0000-4000-8000-000000000002",
  accountId: "aaaaaaaa-0000-4000-8000-000000000001",
  name: "name",
  secretHash: bytes(1),
  created: at(1),
  expireTime: at(2),
  revoked: at(3),
};

const account = { id: "aaaaaaaa-0000-4000-8000-000000000001", name: "name", created: at(1) };

// Replicas of different versions share one Redis. Whoever changes what is pinned here (fields, their order, what they mean)
// counts FORMAT_VERSION up: then they don't read each other's entries.
test.each([
  [
    "a dataset",
    serialize({ revision: 6, readAt: 5, value: dataset }, datasetEntity.codec),
    '3:6:5:["dddddddd-0000-4000-8000-000000000004","aaaaaaaa-0000-4000-8000-000000000001","raster","title","table","scope","restricted","draft","owner",["role"],["subject"],"/{z}/{x}/{y}",[-1,-2,3,4.5],1,2,512,"webp",5,1800000900,6,1795255201123,1795255202123]',
  ],
  [
    "an API key",
    serialize({ revision: 9, readAt: 5, value: apiKey }, apiKeyEntity.codec),
    '3:9:5:["cccccccc-0000-4000-8000-000000000003","aaaaaaaa-0000-4000-8000-000000000001","name","description","agent",["origin"],["2001:db8::/32"],false,1795255201123,["dddddddd-0000-4000-8000-000000000004"],"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",1795255203123,1795255204123,1795255205123,1795255206123,9,7,8,1795255202123,"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=","BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ="]',
  ],
  [
    "a service token",
    serialize({ revision: 2, readAt: 5, value: serviceToken }, serviceTokenEntity.codec),
    '3:2:5:["bbbbbbbb-0000-4000-8000-000000000002","aaaaaaaa-0000-4000-8000-000000000001","name","AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",1795255201123,1795255202123,1795255203123]',
  ],
  [
    "an account",
    serialize({ revision: 1, readAt: 5, value: account }, accountEntity.codec),
    '3:1:5:["aaaaaaaa-0000-4000-8000-000000000001","name",1795255201123]',
  ],
  [
    "a scope",
    serialize({ revision: 1, readAt: 5, value: { id: dataset.id } }, scopeEntity.codec),
    '3:1:5:["dddddddd-0000-4000-8000-000000000004"]',
  ],
  ["what is gone", serialize({ revision: 7, readAt: 5, value: undefined }, accountEntity.codec), "3:7:5:"],
])("format version 3 of %s is this text", (_, text, pinned) => {
  expect(text).toBe(pinned);
});
