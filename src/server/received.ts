import { setImmediate as nextImmediate } from "node:timers/promises";

/**
 * Resolves once everything that this machine has received on open connections has been read. Sockets are polled between
 * two immediates; the first may come before that.
 */
export async function receivedIsRead(): Promise<void> {
  await nextImmediate();
  await nextImmediate();
}
