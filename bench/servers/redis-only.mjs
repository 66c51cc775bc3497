// Tilegate, except that nothing in the process counts: each batch reads its datasets from Redis, which is what a replica
// does that can't hear the others' announcements. The service has no such switch, so this composes it with a cache whose
// entries may stay for 0 ms; everything else, the shared level included, is its own. With `--forgetful` the process
// holds one entry at most: what was decoded and signed is lost as well, as in a replica that has just started.
import pino from "pino";
import { createApp } from "../../dist/compose/app.js";
import { openBackend } from "../../dist/compose/backend.js";
import { readConfig } from "../../dist/config/config.js";
import { systemClock as clock } from "../../dist/domain/clock.js";
import { startServer } from "../../dist/server/server.js";
import { datasetEntity } from "../../dist/stores/cache/dataset.js";
import { createRedisLevel } from "../../dist/stores/cache/redis-level.js";
import { createVersionedCache } from "../../dist/stores/cache/versioned-cache.js";
import { createRedis } from "../../dist/stores/redis/redis.js";

const maxEntries = process.argv.includes("--forgetful") ? 1 : 5_000;
const config = readConfig(process.env);
const log = pino({ level: "warn" }, pino.destination(2));
const backend = await openBackend({ config, log, clock });

const redis = createRedis(process.env.REDIS_URL ?? "", { log });
await redis.settled;
const lifetimes = { ttlMs: 3_600_000, negativeTtlMs: 5_000 };
const shared = createRedisLevel({
  redis: redis.client,
  prefix: "{redis-only}:",
  breaker: { attempt: (operation) => operation() },
  name: datasetEntity.name,
  codec: datasetEntity.codec,
  lifetimes,
  clock,
});
const load = datasetEntity.load(backend.stores.datasets);
const cache = createVersionedCache({ ...datasetEntity, load, shared, lifetimes, maxEntries, clock });
cache.limitStay(0);
const datasets = { ...backend.stores.datasets, ...datasetEntity.lookUps(cache) };

const app = createApp({ ...backend, stores: { ...backend.stores, datasets } });
const { port } = await startServer({ host: "127.0.0.1", port: 0, handler: app.handler });
app.setServing(true);
process.send?.({ listening: { port } });
