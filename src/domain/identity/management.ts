import { DomainError, invalid, notFound } from "../errors.js";
import { canonicalUuid } from "../uuid.js";
import type { Caller } from "./principal.js";

/** The accounts whose keys, datasets and service tokens a caller may manage. */
export type ManagementScope =
  | { readonly all: true }
  | { readonly all: false; readonly accountIds: ReadonlySet<string> };

/** @throws DomainError unauthenticated for an anonymous caller. */
export function requirePrincipal(caller: Caller): void {
  if (caller.length === 0) {
    throw new DomainError("unauthenticated", "CREDENTIAL_REQUIRED", "a credential is required");
  }
}

/** @throws DomainError unauthenticated or permission_denied. */
export function requireOperator(caller: Caller): void {
  requirePrincipal(caller);
  if (!caller.some(({ type }) => type === "operator")) {
    throw new DomainError("permission_denied", "NOT_THE_OPERATOR", "only the operator may do this");
  }
}

/**
 * Who may make credentials. A service token must not make another one: what a stolen one could do would outlive its
 * revocation.
 * @throws DomainError unauthenticated or permission_denied.
 */
export function requireAdministrator(caller: Caller): ManagementScope {
  requirePrincipal(caller);
  const people = caller.filter(({ type }) => type !== "service");
  if (people.length === 0) {
    throw new DomainError("permission_denied", "NOT_AN_ADMINISTRATOR", "service tokens may not do this");
  }
  return requireManager(people);
}

/**
 * Who may manage: the operator every account, service tokens and administrators their own.
 * @throws DomainError unauthenticated for an anonymous caller, permission_denied for any other.
 */
export function requireManager(caller: Caller): ManagementScope {
  if (caller.some(({ type }) => type === "operator")) return { all: true };
  const accountIds = new Set<string>();
  for (const principal of caller) {
    const manages = principal.type === "service" || (principal.type === "user" && principal.admin);
    if (manages) accountIds.add(principal.accountId);
  }
  if (accountIds.size > 0) return { all: false, accountIds };
  requirePrincipal(caller);
  throw new DomainError(
    "permission_denied",
    "NOT_A_MANAGER",
    "only service tokens, administrators and the operator may do this",
  );
}

export function manages(scope: ManagementScope, accountId: string): boolean {
  return scope.all || scope.accountIds.has(accountId);
}

/**
 * The account that a listing or a creation is about: the requested one (a UUID in any letter case), else
 * the caller's own. Whether a requested account exists is not checked.
 * @throws DomainError invalid_argument when none was requested and the caller doesn't imply exactly one; not_found
 * for an account that the caller doesn't manage.
 */
export function managedAccount(
  scope: ManagementScope,
  requestedAccountId: string | undefined,
  field = "account_id",
): string {
  if (requestedAccountId !== undefined) {
    const requested = canonicalUuid(requestedAccountId);
    if (!manages(scope, requested)) throw notFound("account");
    return requested;
  }
  const [own, ...others] = scope.all ? [] : scope.accountIds;
  if (own === undefined || others.length > 0) {
    throw invalid(field, "is required, as the credential doesn't imply one account");
  }
  return own;
}
