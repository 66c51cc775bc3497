import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Account, ServiceToken } from "../domain/accounts/account.js";
import type { Accounts } from "../domain/accounts/accounts.js";
import { canonicalUuid } from "../domain/uuid.js";
import type { AccountSchema, ServiceTokenSchema } from "../gen/proto/tilegate/v1/account_pb.js";
import type { AccountService } from "../gen/proto/tilegate/v1/account_service_pb.js";
import { optionalDate, optionalTimestamp, optionalUuid, toListRequest } from "./conversions.js";
import { callerKey } from "./interceptors.js";

export function createAccountService(accounts: Accounts): ServiceImpl<typeof AccountService> {
  return {
    async createAccount({ id, name }, { values }) {
      const account = await accounts.create(values.get(callerKey), { id: optionalUuid(id), name });
      return { account: toWireAccount(account) };
    },

    async getAccount({ id }, { values }) {
      return { account: toWireAccount(await accounts.get(values.get(callerKey), canonicalUuid(id))) };
    },

    async listAccounts(request, { values }) {
      const page = await accounts.list(values.get(callerKey), toListRequest(request));
      return { accounts: page.items.map(toWireAccount), cursor: page.cursor };
    },

    async createServiceToken({ accountId, name, expireTime }, { values }) {
      const { serviceToken, secret } = await accounts.createServiceToken(values.get(callerKey), {
        accountId: optionalUuid(accountId),
        name,
        expireTime: optionalDate(expireTime, "expire_time"),
      });
      return { serviceToken: toWireToken(serviceToken), token: secret };
    },

    async listServiceTokens(request, { values }) {
      const accountId = optionalUuid(request.accountId);
      const page = await accounts.listServiceTokens(values.get(callerKey), toListRequest(request), accountId);
      return { serviceTokens: page.items.map(toWireToken), cursor: page.cursor };
    },

    async revokeServiceToken({ id }, { values }) {
      const token = await accounts.revokeServiceToken(values.get(callerKey), canonicalUuid(id));
      return { serviceToken: toWireToken(token) };
    },
  };
}

const toWireAccount = ({ id, name, created }: Account): MessageInitShape<typeof AccountSchema> => ({
  id,
  name,
  createTime: timestampFromDate(created),
});

const toWireToken = (token: ServiceToken): MessageInitShape<typeof ServiceTokenSchema> => ({
  id: token.id,
  accountId: token.accountId,
  name: token.name,
  createTime: timestampFromDate(token.created),
  expireTime: optionalTimestamp(token.expireTime),
  revokeTime: optionalTimestamp(token.revoked),
});
