import { expect, test } from "vitest";
import { managedAccount, manages, requireManager } from "../../../src/domain/identity/management.js";
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
