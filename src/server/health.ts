import { EventEmitter, once } from "node:events";
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import {
  HealthCheckResponse_ServingStatus,
  Health as HealthService,
} from "../gen/proto/grpc/health/v1/health_pb.js";
import type { CallClass } from "./limits.js";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

export interface HealthOptions {
  /** Full names of the services to report on, such as `tilegate.v1.TileTokenService`. They share one status. */
  readonly services: readonly string[];
}

export interface Health {
  /** Changes the status of the server (named `""`) and of every service. It begins as not serving. */
  setServing(serving: boolean): void;
  /** Not serving from now on, and watchers' streams end, so that they do not hold up the server's shutdown. */
  shutdown(): void;
  /** Adds grpc.health.v1.Health. */
  register(router: ConnectRouter): void;
}

/** One for each balancer's connection, and a few to spare. A watcher takes 50 kB for as long as it likes. */
export const WATCHES: CallClass = { maxCalls: 256, maxCallsPerConnection: 4, isEndless: true };

/** Requests are a service's name. */
const REQUEST_MAX_BYTES = 4 * 1024;

/** The standard health service, which probes and gRPC load balancers ask. */
export function createHealth(options: HealthOptions): Health {
  const known = new Set(["", ...options.services]);
  const changes = new EventEmitter();
  // One listener per watcher; their number is bounded by the server's stream limit.
  changes.setMaxListeners(0);
  let current = NOT_SERVING;
  let isShutDown = false;

  const health: Health = {
    setServing(serving) {
      if (isShutDown) return;
      current = serving ? SERVING : NOT_SERVING;
      changes.emit("change");
    },
    shutdown() {
      health.setServing(false);
      isShutDown = true;
      changes.emit("change");
    },
    register(router) {
      const implementation: ServiceImpl<typeof HealthService> = {
        check({ service }) {
          if (!known.has(service)) throw new ConnectError("unknown service", Code.NotFound);
          return { status: current };
        },
        list: () => ({
          statuses: Object.fromEntries([...known].map((service) => [service, { status: current }])),
        }),
        async *watch({ service }, { signal }) {
          let sent: HealthCheckResponse_ServingStatus | undefined;
          while (!signal.aborted) {
            const status = known.has(service) ? current : SERVICE_UNKNOWN;
            if (status !== sent) {
              sent = status;
              yield { status };
            } else if (isShutDown) {
              return;
            } else {
              await once(changes, "change", { signal }).catch(() => undefined);
            }
          }
        },
      };
      router.service(HealthService, implementation, { readMaxBytes: REQUEST_MAX_BYTES });
    },
  };
  return health;
}
