import { describe, expect, test } from "vitest";
import { decideAccess, type ProtectedDataset } from "../../../src/domain/access/access.js";
import type { Caller, UserPrincipal } from "../../../src/domain/identity/principal.js";
import { type CallerKind, readAccessTable } from "../../app/access-table.js";

const OWN = "11111111-1111-4111-8111-111111111111";
const OTHER = "22222222-2222-4222-8222-222222222222";
const DATASET = "33333333-3333-4333-8333-333333333333";

const user = (accountId: string, subject: string, roles: string[] = [], admin = false): UserPrincipal => ({
  type: "user",
  accountId,
  subject,
  roles: new Set(roles),
  admin,
});
const key = (accountId: string, ...datasetIds: string[]): Caller => [
  { type: "api_key", accountId, apiKeyId: "k", datasetIds: new Set(datasetIds) },
];
const service = (accountId: string): Caller => [{ type: "service", accountId, serviceTokenId: "s" }];

const callers: Record<CallerKind, Caller> = {
  anonymous: [],
  user: [user(OWN, "somebody")],
  "user: owner": [user(OWN, "the-owner")],
  "user: admin": [user(OWN, "somebody", ["admin"], true)],
  "user: reader by role": [user(OWN, "somebody", ["reader"])],
  "user: reader by subject": [user(OWN, "the-reader")],
  "API key": key(OWN),
  "API key: lists it": key(OWN, DATASET),
  "service token": service(OWN),
  "other account's user": [user(OTHER, "somebody")],
  "other account's user with the owner's subject": [user(OTHER, "the-owner")],
  "other account's user with a reader's role": [user(OTHER, "the-reader", ["reader"])],
  "other account's admin": [user(OTHER, "somebody", ["admin"], true)],
  "other account's API key": key(OTHER, DATASET),
  "other account's service token": service(OTHER),
  operator: [{ type: "operator" }],
};

const dataset = (state: Pick<ProtectedDataset, "visibility" | "status">): ProtectedDataset => ({
  id: DATASET,
  accountId: OWN,
  owner: "the-owner",
  readerRoles: ["reader"],
  readerSubjects: ["the-reader"],
  ...state,
});

describe("the access table", () => {
  test.each(readAccessTable())(
    "$state.visibility, $state.status × $caller: $expected",
    ({ state, caller, expected }) => {
      expect(decideAccess(dataset(state), callers[caller])).toBe(expected);
    },
  );

  test("covers every state and every caller", () => {
    expect(readAccessTable()).toHaveLength(3 * 2 * Object.keys(callers).length);
  });
});

describe("several credentials on one request", () => {
  const restricted = dataset({ visibility: "restricted", status: "published" });

  test.each([
    [
      "a key that grants beside a user who may not",
      [...callers["API key: lists it"], ...callers.user],
      "granted",
    ],
    [
      "a user who grants beside another account's key",
      [...callers["other account's API key"], ...callers["user: owner"]],
      "granted",
    ],
    [
      "refusals of the same account beside another's",
      [...callers["other account's user"], ...callers.user],
      "permission_denied",
    ],
    [
      "strangers only",
      [...callers["other account's user"], ...callers["other account's API key"]],
      "not_found",
    ],
  ] as const)("%s", (_name, caller, expected) => {
    expect(decideAccess(restricted, caller)).toBe(expected);
    expect(decideAccess(restricted, caller.toReversed())).toBe(expected);
  });
});

test("a dataset without an owner is nobody's, not everybody's whose subject is empty", () => {
  const orphan = { ...dataset({ visibility: "private", status: "published" }), owner: undefined };
  expect(decideAccess(orphan, [user(OWN, "")])).toBe("permission_denied");
});
