import { expect, test } from "vitest";
import type { Transaction } from "../../src/domain/unit-of-work.js";
import { type Follow, type Followers, withAnnouncements } from "../../src/stores/announcing.js";

/** One that is left out doesn't compile. */
const stores: Readonly<Record<keyof Transaction, true>> = {
  accounts: true,
  serviceTokens: true,
  apiKeys: true,
  datasets: true,
};

test("what was written to any store of a transaction is announced, once, and not before it is committed", async () => {
  const done: string[] = [];
  const follow = (name: string): Follow<unknown> => {
    return (writes) => ({ writes, announce: async () => void done.push(name) });
  };
  const names = Object.keys(stores);
  const followers = Object.fromEntries(names.map((name) => [name, follow(name)])) as unknown as Followers;
  const { write } = withAnnouncements(
    {
      async write(work) {
        const result = await work({} as Transaction);
        done.push("committed");
        return result;
      },
    },
    followers,
  );
  expect(await write(async () => "result")).toBe("result");
  expect(done[0]).toBe("committed");
  expect(done.slice(1).toSorted()).toEqual(names.toSorted());
});
