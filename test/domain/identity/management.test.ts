import { expect, test } from "vitest";
import {
  managedAccount,
  manages,
  requireAdministrator,
  requireManager,
  requireMember,
  requireOperator,
} from "../../../src/domain/identity/management.js";
import type { Caller } from "../../../src/domain/identity/principal.js";
import {
  ACCOUNT,
  ANONYMOUS,
  API_KEY,
  OPERATOR,
  OTHER_ACCOUNT,
  SERVICE,
  STRANGER,
  user,
} from "../api-keys/fixture.js";

test("service tokens and administrators manage their own account, and no other", () => {
  for (const caller of [SERVICE, user(true), [...API_KEY, ...SERVICE]]) {
    const scope = requireManager(caller);
    expect(manages(scope, ACCOUNT)).toBe(true);
    expect(manages(scope, OTHER_ACCOUNT)).toBe(false);
    expect(managedAccount(scope, undefined)).toBe(ACCOUNT);
    expect(managedAccount(scope, ACCOUNT.toUpperCase())).toBe(ACCOUNT);
    expect(() => managedAccount(scope, OTHER_ACCOUNT)).toThrow(
      expect.objectContaining({ kind: "not_found" }),
    );
  }
});

test("the operator manages every account, and must name one", () => {
  const scope = requireManager([...SERVICE, ...OPERATOR]);
  expect(manages(scope, OTHER_ACCOUNT)).toBe(true);
  expect(managedAccount(scope, OTHER_ACCOUNT)).toBe(OTHER_ACCOUNT);
  expect(() => managedAccount(scope, undefined)).toThrow(
    expect.objectContaining({ kind: "invalid_argument", field: "account_id" }),
  );
});

test("credentials of two accounts manage both, and must name one", () => {
  const scope = requireManager([...SERVICE, ...STRANGER]);
  expect(managedAccount(scope, OTHER_ACCOUNT)).toBe(OTHER_ACCOUNT);
  expect(() => managedAccount(scope, undefined)).toThrow(expect.objectContaining({ field: "account_id" }));
});

test("anonymous callers must say who they are; users without the role and API keys may not", () => {
  expect(() => requireManager(ANONYMOUS)).toThrow(expect.objectContaining({ kind: "unauthenticated" }));
  for (const caller of [user(false), API_KEY, [...API_KEY, ...user(false)]]) {
    expect(() => requireManager(caller)).toThrow(expect.objectContaining({ kind: "permission_denied" }));
  }
});

test("administrators and the operator make credentials; service tokens, users and API keys may not", () => {
  expect(manages(requireAdministrator(user(true)), ACCOUNT)).toBe(true);
  expect(manages(requireAdministrator([...SERVICE, ...user(true)]), ACCOUNT)).toBe(true);
  expect(requireAdministrator(OPERATOR)).toEqual({ all: true });
  expect(() => requireAdministrator(ANONYMOUS)).toThrow(expect.objectContaining({ kind: "unauthenticated" }));
  for (const caller of [SERVICE, user(false), API_KEY, [...API_KEY, ...SERVICE]]) {
    expect(() => requireAdministrator(caller)).toThrow(
      expect.objectContaining({ kind: "permission_denied", reason: "NOT_AN_ADMINISTRATOR" }),
    );
  }
});

test("users and service tokens know of their own account, the operator of every one", () => {
  for (const caller of [SERVICE, user(false), OPERATOR, [...API_KEY, ...SERVICE]]) {
    expect(() => requireMember(caller, ACCOUNT)).not.toThrow();
  }
  expect(() => requireMember(ANONYMOUS, ACCOUNT)).toThrow(
    expect.objectContaining({ kind: "unauthenticated" }),
  );
  for (const caller of [API_KEY, STRANGER]) {
    expect(() => requireMember(caller, ACCOUNT)).toThrow(expect.objectContaining({ kind: "not_found" }));
  }
});

test("a kind of credential that nobody has decided about may do nothing, whatever it says of itself", () => {
  const unheardOf = [{ type: "robot", accountId: ACCOUNT, admin: true }] as unknown as Caller;
  for (const require of [requireManager, requireAdministrator, requireOperator]) {
    expect(() => require(unheardOf)).toThrow(expect.objectContaining({ kind: "permission_denied" }));
  }
  expect(() => requireMember(unheardOf, ACCOUNT)).toThrow(expect.objectContaining({ kind: "not_found" }));
});
