import { randomUUID } from "node:crypto";
import { OPERATOR } from "../../src/domain/identity/principal.js";
import type { Headers, TestApp } from "../harness/app.js";

export interface TestAccount {
  readonly id: string;
  /** Its service token's Authorization header, in MapTiler's form. */
  readonly backend: Headers;
}

/** A new account, so that what a test counts or lists is its own. */
export async function createAccount({ useCases: { accounts } }: TestApp): Promise<TestAccount> {
  const { id } = await accounts.create(OPERATOR, { name: `account ${randomUUID()}` });
  const { secret } = await accounts.createServiceToken(OPERATOR, { accountId: id, name: "" });
  return { id, backend: { authorization: `Token ${secret}` } };
}
