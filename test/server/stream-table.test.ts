import { once } from "node:events";
import { connect, type ServerHttp2Stream } from "node:http2";
import { queryObjects } from "node:v8";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { StreamTable } from "../../src/server/stream-table.js";
import { serve } from "./serve.js";

const stream = (name: string) => ({ name }) as unknown as ServerHttp2Stream;

test("a table of streams answers as a Map does", () => {
  const ids = fc.integer({ min: 0, max: 2 ** 31 - 1 });
  const kinds = fc.constantFrom("set", "set", "set", "delete", "delete", "delete", "clear");
  // Few ids, so that they meet again.
  const operations = fc
    .tuple(fc.uniqueArray(ids, { minLength: 1, maxLength: 6 }), fc.array(fc.tuple(fc.nat(), kinds)))
    .map(([known, all]) => all.map(([at, kind]) => ({ kind, id: known[at % known.length] ?? 0 })));
  fc.assert(
    fc.property(operations, (all) => {
      const [table, map] = [new StreamTable(), new Map<number, ServerHttp2Stream>()];
      for (const [index, { kind, id }] of all.entries()) {
        const answers = [table, map].map((each) => {
          if (kind === "set") return each.set(id, stream(String(index))) === each;
          return kind === "delete" ? each.delete(id) : each.clear();
        });
        expect(answers[0]).toEqual(answers[1]);
        const expected = [...map].sort(([a], [b]) => a - b);
        const heard: [number, ServerHttp2Stream][] = [];
        table.forEach((value, key) => {
          heard.push([key, value]);
        });
        expect([...table]).toEqual(expected);
        expect(heard).toEqual(expected);
        expect([...table.keys()]).toEqual(expected.map(([key]) => key));
        expect([...table.values()]).toEqual(expected.map(([, value]) => value));
        expect([table.size, table.get(id), table.has(id)]).toEqual([map.size, map.get(id), map.has(id)]);
      }
    }),
  );
});

test("all streams can be taken out while they are gone through, as Node.js does when a session is destroyed", () => {
  const table = new StreamTable();
  for (const id of [1, 3, 5]) table.set(id, stream(String(id)));
  table.forEach((_, id) => {
    table.delete(id);
  });
  expect(table.size).toBe(0);
});

/** Red where a version of Node.js keeps them elsewhere: see stream-table.ts for what that costs. */
test("the sessions of the server have such a table", async () => {
  const { server } = await serve();
  const session = connect(server.url);
  onTestFinished(() => session.destroy());
  await once(session, "remoteSettings");
  expect(queryObjects(StreamTable, { format: "count" })).toBeGreaterThan(0);
});
