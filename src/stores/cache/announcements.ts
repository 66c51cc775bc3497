import type { CoherentCache } from "./versioned-cache.js";

/** All caches of this process, by the name of what they hold. */
export type Caches = ReadonlyMap<string, CoherentCache>;

/** What one process tells the others: the revisions that keys have reached. */
export interface Announcement {
  readonly cache: string;
  readonly revisions: readonly (readonly [key: string, revision: number])[];
}

/** Announcements of all kinds, to all replicas: the name after the installation's prefix. */
export const CHANNEL = "announcements";

/** Applies an announcement. One that this version doesn't understand may be about anything. */
export function hear(caches: Caches, text: string): void {
  const announcement = parse(text);
  const cache = announcement && caches.get(announcement.cache);
  if (announcement && cache) cache.invalidate(announcement.revisions);
  else clearAll(caches);
}

export function clearAll(caches: Caches): void {
  for (const cache of caches.values()) cache.clear();
}

/** How long entries of any kind stay. Undefined: their lifetime. */
export function limitStays(caches: Caches, milliseconds: number | undefined): void {
  for (const cache of caches.values()) cache.limitStay(milliseconds);
}

function parse(text: string): { cache: string; revisions: [string, number][] } | undefined {
  try {
    const { cache, revisions } = JSON.parse(text);
    return typeof cache === "string" && Array.isArray(revisions) ? { cache, revisions } : undefined;
  } catch {
    return undefined;
  }
}
