import type { Dataset } from "../datasets/dataset.js";
import type { Caller, Principal } from "../identity/principal.js";

/** Why a caller may not see a dataset. "not_found" also hides what the caller may not know of. */
export type Denial = "not_found" | "permission_denied" | "unauthenticated";

export type AccessDecision = "granted" | Denial;

/** The part of a dataset that decides who may see it. */
export type ProtectedDataset = Pick<
  Dataset,
  "accountId" | "visibility" | "status" | "owner" | "readerRoles" | "readerSubjects"
> & { readonly id: string };

/**
 * Whether `caller` may load the tiles of `dataset`: the whole access table, and the only place where it stands.
 * Any one principal's grant is enough. Of several denials the most telling one that any of them may hear counts.
 */
export function decideAccess(dataset: ProtectedDataset, caller: Caller): AccessDecision {
  if (isOpen(dataset)) return "granted";
  if (caller.length === 0) return dataset.visibility === "public" ? "not_found" : "unauthenticated";
  let most: AccessDecision = "not_found";
  for (const principal of caller) {
    const decision = decideForPrincipal(dataset, principal);
    if (decision === "granted") return decision;
    if (decision === "permission_denied") most = decision;
  }
  return most;
}

/** Whether `caller` may know that it exists. Who may not must not be able to tell, by the time that the answer takes either. */
export const mayKnowOf = (dataset: ProtectedDataset, caller: Caller): boolean =>
  decideAccess(dataset, caller) !== "not_found";

/** Whether everybody may load its tiles, whoever they are. */
export const isOpen = (dataset: ProtectedDataset): boolean =>
  dataset.visibility === "public" && dataset.status === "published";

function decideForPrincipal(dataset: ProtectedDataset, principal: Principal): AccessDecision {
  if (principal.type === "operator") return "granted";
  // Another account's datasets must look as if they didn't exist.
  if (principal.accountId !== dataset.accountId) return "not_found";
  const published = dataset.status === "published";
  switch (principal.type) {
    case "service":
      return "granted";
    case "user": {
      const owns = dataset.owner !== undefined && dataset.owner === principal.subject;
      if (principal.admin || owns) return "granted";
      if (!published) return "not_found";
      const reads =
        dataset.visibility === "restricted" &&
        (dataset.readerSubjects.includes(principal.subject) ||
          dataset.readerRoles.some((role) => principal.roles.has(role)));
      return reads ? "granted" : "permission_denied";
    }
    case "api_key":
      if (!published) return "not_found";
      return principal.datasetIds.has(dataset.id) ? "granted" : "permission_denied";
  }
}
