import type { SqlDriverAdapterFactory } from "@prisma/client/runtime/client";
import { within } from "../within.js";

type SqlDriverAdapter = Awaited<ReturnType<SqlDriverAdapterFactory["connect"]>>;

/**
 * `factory`, whose adapters give up on the wait for a connection and the answer together after so many milliseconds,
 * for statements outside of transactions and for the beginning of a transaction. What was sent goes on: the outcome
 * of a write is unknown then, as when a connection breaks.
 */
export function withDeadline(
  factory: SqlDriverAdapterFactory,
  milliseconds: number,
): SqlDriverAdapterFactory {
  return {
    provider: factory.provider,
    adapterName: factory.adapterName,
    connect: async () => boundAdapter(await factory.connect(), milliseconds),
  };
}

function boundAdapter(adapter: SqlDriverAdapter, milliseconds: number): SqlDriverAdapter {
  return {
    provider: adapter.provider,
    adapterName: adapter.adapterName,
    queryRaw: (query) => within(milliseconds, adapter.queryRaw(query)),
    executeRaw: (query) => within(milliseconds, adapter.executeRaw(query)),
    executeScript: (script) => adapter.executeScript(script),
    async startTransaction(isolationLevel) {
      const starting = adapter.startTransaction(isolationLevel);
      try {
        return await within(milliseconds, starting);
      } catch (error) {
        // Nobody else would give its connection back.
        starting.then((late) => late.rollback()).catch(() => undefined);
        throw error;
      }
    },
    getConnectionInfo: () => adapter.getConnectionInfo?.() ?? { supportsRelationJoins: false },
    dispose: () => adapter.dispose(),
  };
}
