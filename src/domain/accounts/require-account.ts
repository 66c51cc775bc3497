import { notFound } from "../errors.js";
import type { AccountStore } from "./account.js";

/** @throws DomainError not_found unless there is an account of this id. */
export async function requireAccount(accounts: Pick<AccountStore, "read">, id: string): Promise<void> {
  if ((await accounts.read(id)) === undefined) throw notFound("account");
}
