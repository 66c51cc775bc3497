import { DomainError, invalid, notFound } from "../errors.js";
import { canonicalUuid } from "../uuid.js";
import type { Caller, Principal } from "./principal.js";

/** The accounts in which a caller may do something. */
export type ManagementScope =
  | { readonly all: true }
  | { readonly all: false; readonly accountIds: ReadonlySet<string> };

/** What somebody may do in their own account. */
interface Powers {
  /** To know of it. */
  readonly belongs: boolean;
  /** Its datasets and API keys. */
  readonly manages: boolean;
  /** To make credentials, too. */
  readonly administrates: boolean;
}

const NONE: Powers = { belongs: false, manages: false, administrates: false };

/** All that anybody may do, but for the operator: what doesn't stand here, such as a new kind of credential, may do nothing. */
function powersOf(principal: Principal): Powers {
  switch (principal.type) {
    // Must not make another one: what a stolen one could do would outlive its revocation.
    case "service":
      return { belongs: true, manages: true, administrates: false };
    case "user":
      return { belongs: true, manages: principal.admin, administrates: principal.admin };
    default:
      return NONE;
  }
}

const isOperator = ({ type }: Principal): boolean => type === "operator";

/** The accounts in which `caller` has the power. */
function scopeOf(caller: Caller, power: keyof Powers): ManagementScope {
  if (caller.some(isOperator)) return { all: true };
  const own = caller.flatMap((principal) =>
    "accountId" in principal && powersOf(principal)[power] ? [principal.accountId] : [],
  );
  return { all: false, accountIds: new Set(own) };
}

const isEmpty = (scope: ManagementScope): boolean => !scope.all && scope.accountIds.size === 0;

/** @throws DomainError unauthenticated for an anonymous caller. */
export function requirePrincipal(caller: Caller): void {
  if (caller.length === 0) {
    throw new DomainError("unauthenticated", "CREDENTIAL_REQUIRED", "a credential is required");
  }
}

/** @throws DomainError unauthenticated or permission_denied. */
export function requireOperator(caller: Caller): void {
  requirePrincipal(caller);
  if (!caller.some(isOperator)) {
    throw new DomainError("permission_denied", "NOT_THE_OPERATOR", "only the operator may do this");
  }
}

/**
 * Who may make credentials: the operator for every account, administrators for their own.
 * @throws DomainError unauthenticated or permission_denied.
 */
export function requireAdministrator(caller: Caller): ManagementScope {
  const scope = scopeOf(caller, "administrates");
  if (!isEmpty(scope)) return scope;
  requirePrincipal(caller);
  throw new DomainError(
    "permission_denied",
    "NOT_AN_ADMINISTRATOR",
    "only administrators and the operator may do this",
  );
}

/**
 * Who may manage: the operator every account, service tokens and administrators their own.
 * @throws DomainError unauthenticated for an anonymous caller, permission_denied for any other.
 */
export function requireManager(caller: Caller): ManagementScope {
  const scope = scopeOf(caller, "manages");
  if (!isEmpty(scope)) return scope;
  requirePrincipal(caller);
  throw new DomainError(
    "permission_denied",
    "NOT_A_MANAGER",
    "only service tokens, administrators and the operator may do this",
  );
}

/**
 * Who may know of an account: those who belong to it, and the operator.
 * @throws DomainError unauthenticated for an anonymous caller, not_found for any other.
 */
export function requireMember(caller: Caller, accountId: string): void {
  if (manages(scopeOf(caller, "belongs"), accountId)) return;
  requirePrincipal(caller);
  throw notFound("account");
}

/** Whether the account is one of them. */
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
