import { expect, test } from "vitest";
import { parseRedisUrl } from "../../src/stores/redis/url.js";

const PLAIN = {
  topology: "standalone",
  masterName: "",
  db: 0,
  tls: false,
  username: undefined,
  password: undefined,
  sentinelPassword: undefined,
};

test.each([
  ["redis://cache", { nodes: [{ host: "cache", port: 6379 }] }],
  ["redis://[::1]:7000/", { nodes: [{ host: "::1", port: 7000 }] }],
  ["redis://:p%23s%3As@cache", { nodes: [{ host: "cache", port: 6379 }], password: "p#s:s" }],
  [
    "rediss://me:secret@cache:6380/2",
    {
      nodes: [{ host: "cache", port: 6380 }],
      tls: true,
      ...{ username: "me", password: "secret", db: 2 },
    },
  ],
  [
    "redis+sentinel://me:secret@one,two:26380/tiles/3?sentinel_password=an%20other",
    {
      topology: "sentinel",
      nodes: [
        { host: "one", port: 26_379 },
        { host: "two", port: 26_380 },
      ],
      masterName: "tiles",
      db: 3,
      ...{ username: "me", password: "secret", sentinelPassword: "an other" },
    },
  ],
  [
    "rediss+cluster://one:7000,[::1]",
    {
      topology: "cluster",
      nodes: [
        { host: "one", port: 7000 },
        { host: "::1", port: 6379 },
      ],
      tls: true,
    },
  ],
])("%s names these servers", (url, expected) => {
  expect(parseRedisUrl(url)).toEqual({ ...PLAIN, ...expected });
});
