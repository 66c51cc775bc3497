import { expect, test } from "vitest";
import type { ServiceToken } from "../../../src/domain/accounts/account.js";
import { accountEntity } from "../../../src/stores/cache/account.js";
import { apiKeyEntity } from "../../../src/stores/cache/api-key.js";
import { datasetEntity } from "../../../src/stores/cache/dataset.js";
import { type Codec, deserialize, serialize } from "../../../src/stores/cache/entry.js";
import { serviceTokenEntity } from "../../../src/stores/cache/service-token.js";
import { newAccount, newApiKey, newDataset, newSealedToken } from "../store-fixture.js";

const at = new Date("2026-11-21T10:00:00.123Z");

const token: ServiceToken = {
  id: newAccount().id,
  accountId: newAccount().id,
  name: "backend",
  secretHash: newSealedToken().lookupHash,
  created: at,
};

function comesBack<T>(value: T, codec: Codec<T>): void {
  const entry = { revision: 7, readAt: at.getTime(), value };
  const back = deserialize(serialize(entry, codec), codec);
  // Bytes come back as bytes, of whichever class.
  const hex = (_key: string, member: unknown) => {
    if (member instanceof Uint8Array) return Buffer.from(member).toString("hex");
    const isBuffer =
      typeof member === "object" && member !== null && Reflect.get(member, "type") === "Buffer";
    return isBuffer ? Buffer.from(Reflect.get(member, "data")).toString("hex") : member;
  };
  const plain = (data: unknown) => JSON.parse(JSON.stringify(data, hex));
  expect(plain(back)).toEqual(plain(entry));
}

test("what is cached comes back as it was, with every field set and with none but the required", () => {
  comesBack(newAccount(), accountEntity.codec);
  comesBack(token, serviceTokenEntity.codec);
  comesBack({ ...token, expireTime: at, revoked: at }, serviceTokenEntity.codec);
  comesBack(newDataset("a"), datasetEntity.codec);
  const raster = {
    tileUrlTemplate: "/{z}/{x}/{y}",
    bounds: [-1, -2, 3, 4],
    minzoom: 1,
    maxzoom: 2,
    tileSize: 512,
    format: "webp",
  } as const;
  const readers = { readerRoles: ["a", "b"], readerSubjects: ["c"], owner: "d" };
  comesBack(
    newDataset("a", { kind: "raster", tableName: undefined, raster, ...readers, revision: 9 }),
    datasetEntity.codec,
  );
  comesBack(newApiKey("a"), apiKeyEntity.codec);
  const lists = { origins: ["x", "?"], allowedIps: ["10.0.0.0/8", "::1"], datasetIds: ["e"] };
  const settings = { ...lists, expireTime: at, lastUsed: at, deleted: at };
  const rateLimit = { requests: 5, windowSeconds: 60 };
  const previous = { ...newSealedToken(), expireTime: at };
  comesBack(newApiKey("a", { ...settings, rateLimit, previous, enabled: false }), apiKeyEntity.codec);
});

test("a tombstone comes back without a value", () => {
  const entry = { revision: 3, readAt: 5, value: undefined };
  expect(deserialize(serialize(entry, datasetEntity.codec), datasetEntity.codec)).toEqual(entry);
});

test("what isn't ours, or not of this version, is a miss", () => {
  const text = serialize({ revision: 1, readAt: 5, value: newDataset("a") }, datasetEntity.codec);
  for (const broken of [
    "",
    "x",
    text.slice(0, -1),
    `9${text}`,
    text.replace('"public"', '"everybody"'),
    text.replace("[]", "[1]"),
  ]) {
    expect(deserialize(broken, datasetEntity.codec)).toBeUndefined();
  }
});
