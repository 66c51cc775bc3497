import { once } from "node:events";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { parseRedisUrl, type RedisTarget } from "./url.js";

export interface RedisConnection extends AsyncDisposable {
  /**
   * Its commands reject when there is no connection now: whoever calls them has another way, and waits as long as he
   * likes. None is sent twice.
   */
  readonly client: Redis | Cluster;
  /** Another connection to the same server, or to a node of the cluster: what is published on one is heard on all. */
  subscriber(): Redis;
  /** Resolves when it is connected for the first time, or after a second without. */
  readonly settled: Promise<void>;
  /** Hears of failed commands, and undefined for the first one that succeeds after: an outage is one line in the log. */
  readonly report: (error: unknown) => void;
  /** Whether there is an outage now, as far as was heard. */
  readonly isDown: () => boolean;
}

/** For the connection that only listens: nobody waits for its commands. */
const COMMAND_TIMEOUT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 1_000;
const MAX_RECONNECT_DELAY_MS = 2_000;

/** A connection whose other end is gone without a word is given up after that, not after TCP's quarter of an hour. */
const SILENCE_MS = 2_000;

/** Of one that a failover is moving a slot from: the breaker is better than a call that waits. */
const CLUSTER_RETRY_DELAY_MS = 50;

const reconnectDelay = (attempt: number): number => Math.min(attempt * 100, MAX_RECONNECT_DELAY_MS);

/**
 * Connects in the background, and again whenever the connection breaks.
 *
 * @param url as parseRedisUrl reads it.
 * @throws TypeError for another.
 */
export function createRedis(url: string, { log }: { log: Pick<Logger, "info" | "warn"> }): RedisConnection {
  const target = parseRedisUrl(url);
  if (target === undefined) throw new TypeError("not the URL of a Redis");
  const client = target.topology === "cluster" ? connectCluster(target) : connect(target, {});

  let isDown = false;
  function report(error: unknown): void {
    if ((error !== undefined) === isDown) return;
    isDown = !isDown;
    // Not the error itself: that of a refused password carries the command, and so the password.
    if (isDown) log.warn({ reason: reasonOf(error) }, "Redis can't be reached: going on without it");
    else log.info("Redis is back");
  }
  client.on("error", report);
  client.on("ready", () => report(undefined));

  return {
    client,
    subscriber: () => connect(target, { commandTimeout: COMMAND_TIMEOUT_MS }),
    report,
    isDown: () => isDown,
    settled: once(client, "ready", { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) }).then(
      () => undefined,
      () => undefined,
    ),
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise<void>((resolve) => client.once("end", resolve));
      client.disconnect();
      // Between two attempts to connect, nothing is open, and no end is told.
      if (client.status !== "end" && client.status !== "reconnecting") await ended;
    },
  };
}

/** To one server: the given one, the sentinels' master, or whichever node of a cluster answers. */
function connect(target: RedisTarget, own: RedisOptions): Redis {
  const { topology, nodes, masterName, db, tls } = target;
  const common = { ...connectionOptions(target), ...own, db, enableOfflineQueue: false };
  if (topology === "sentinel") {
    return new Redis({
      ...common,
      name: masterName,
      sentinels: [...nodes],
      ...(target.sentinelPassword !== undefined && { sentinelPassword: target.sentinelPassword }),
      ...(tls && { enableTLSForSentinelMode: true }),
      sentinelCommandTimeout: CONNECT_TIMEOUT_MS,
      sentinelRetryStrategy: reconnectDelay,
      retryStrategy: reconnectDelay,
    });
  }
  const redis = new Redis({
    ...common,
    ...nodes[0],
    retryStrategy(attempt) {
      Object.assign(redis.options, nodes[attempt % nodes.length]);
      return reconnectDelay(attempt);
    },
  });
  return redis;
}

function connectCluster(target: RedisTarget): Cluster {
  return new Cluster([...target.nodes], {
    redisOptions: connectionOptions(target),
    enableOfflineQueue: false,
    clusterRetryStrategy: reconnectDelay,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
    // One, for a slot that has moved.
    maxRedirections: 1,
    retryDelayOnFailover: CLUSTER_RETRY_DELAY_MS,
    retryDelayOnClusterDown: CLUSTER_RETRY_DELAY_MS,
    retryDelayOnTryAgain: CLUSTER_RETRY_DELAY_MS,
    // Certificates are for names, not for the addresses behind them.
    ...(target.tls && { dnsLookup: (name, callback) => callback(null, name) }),
  });
}

function connectionOptions({ username, password, tls }: RedisTarget) {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: {} }),
    connectionName: "tilegate",
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SILENCE_MS,
    // A command whose connection broke may have been executed: sent again, it would count twice.
    autoResendUnfulfilledCommands: false,
    // Its failure would be nobody's, and so the process's end. The listener subscribes itself.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    // A master that a failover made a replica.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
  } satisfies RedisOptions;
}

const reasonOf = (error: unknown): string | undefined => {
  const { message, code } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  return message || code;
};
