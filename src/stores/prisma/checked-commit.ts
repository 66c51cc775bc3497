import type { SqlDriverAdapterFactory } from "@prisma/client/runtime/client";

type SqlDriverAdapter = Awaited<ReturnType<SqlDriverAdapterFactory["connect"]>>;

/**
 * `factory`, whose transactions Prisma ends by statements of its own. For PGlite's adapter: what becomes of its own
 * COMMIT it tells nobody, so that a write which a full disk or a deferred constraint undid would be acknowledged. As a
 * statement it fails like any other. The adapter's COMMIT or ROLLBACK after it finds no transaction, which is no error.
 */
export function withCheckedCommit(factory: SqlDriverAdapterFactory): SqlDriverAdapterFactory {
  return {
    provider: factory.provider,
    adapterName: factory.adapterName,
    connect: async () => checked(await factory.connect()),
  };
}

function checked(adapter: SqlDriverAdapter): SqlDriverAdapter {
  const start = adapter.startTransaction.bind(adapter);
  return Object.assign(adapter, {
    startTransaction: async (...isolation: Parameters<typeof start>) =>
      Object.assign(await start(...isolation), { options: { usePhantomQuery: false } }),
  });
}
