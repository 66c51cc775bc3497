import { createReserve, type Reserve } from "./reserve.js";

/** For bodies, as received and inflated: 11 of the largest at a time, and for strangers 256 of theirs. */
const BODY_BYTES = { total: 48 * 1024 * 1024, forStrangers: 16 * 1024 * 1024 };

/**
 * What all calls of this process have together. Of the calls that may be open, so many may wait for something besides their client:
 * for a body, a look-up, the database. A quarter of them is kept for those who show a credential.
 */
export function createCallReserves(maxCalls: number): { places: Reserve; bytes: Reserve } {
  const forStrangers = Math.floor((maxCalls / 2) * 0.75);
  return {
    places: createReserve({ total: Math.ceil(maxCalls / 2), forStrangers }),
    bytes: createReserve(BODY_BYTES),
  };
}
