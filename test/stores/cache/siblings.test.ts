import { EventEmitter } from "node:events";
import { describe, expect, test } from "vitest";
import type { SiblingChannel } from "../../../src/stores/cache/siblings.js";
import { createTestDatabase, postgresUrl } from "../../harness/postgres.js";
import { anybody, nextRevision, openReplica } from "../../harness/replicas.js";
import {
  insertAccount,
  insertApiKey,
  newAccount,
  newApiKey,
  newDataset,
  replaceApiKey,
  saveDatasets,
} from "../store-fixture.js";

describe.skipIf(!postgresUrl())("workers of one service, without Redis", () => {
  test("obey each other's changes as soon as these are acknowledged", async () => {
    await using database = await createTestDatabase();
    const primary = new EventEmitter();
    const open = (name: string) =>
      openReplica(database.url, undefined, 60, undefined, createChannel(primary, name));
    await using here = await open("here");
    await using there = await open("there");
    const account = newAccount();
    await insertAccount(here, account);
    const dataset = newDataset(account.id);
    const key = newApiKey(account.id);
    await saveDatasets(here, dataset);
    await insertApiKey(here, key);
    const seen = async () => (await there.datasets.lookUp([dataset.id], anybody)).get(dataset.id)?.visibility;
    const found = async () => (await there.apiKeys.lookUp([key.current.lookupHash]))?.enabled;
    expect([await seen(), await found()]).toEqual(["public", true]);
    await saveDatasets(here, nextRevision(dataset, { visibility: "private" }));
    await replaceApiKey(here, { ...key, enabled: false }, key);
    expect([await seen(), await found()]).toEqual(["private", false]);
  });
});

/** As the primary connects its workers, but at once. */
function createChannel(primary: EventEmitter, name: string): SiblingChannel {
  return {
    send: async (announcement) => void primary.emit("announcement", name, announcement),
    listen(receive) {
      const hear = (from: string, announcement: string) => {
        if (from !== name) receive(announcement);
      };
      primary.on("announcement", hear);
      return { [Symbol.dispose]: () => void primary.off("announcement", hear) };
    },
  };
}
