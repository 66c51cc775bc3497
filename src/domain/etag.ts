import { DomainError } from "./errors.js";

/** What counts its changes. */
interface Revised {
  readonly revision: number;
}

/** Names a state of a resource. Opaque to callers, who compare it for equality only. */
export const etagOf = ({ revision }: Revised): string => `r${revision.toString(36)}`;

/** @throws DomainError aborted unless `etag` is that of `current`, or absent: then the last write wins. */
export function requireCurrent(etag: string | undefined, current: Revised, resource: string): void {
  if (etag === undefined || etag === etagOf(current)) return;
  throw new DomainError("aborted", "STALE_ETAG", `the ${resource} has changed since the etag was read`, {
    field: "etag",
  });
}
