import { type Command, InvalidArgumentError } from "commander";
import type { RevealedApiKey } from "../domain/api-keys/api-keys.js";
import { reencryptApiKeys } from "../domain/api-keys/reencryption.js";
import type { ApiKeyRefusal } from "../domain/api-keys/restrictions.js";
import { createVault } from "../domain/api-keys/vault.js";
import type { RefusedApiKey } from "../domain/api-keys/verification.js";
import { OPERATOR } from "../domain/identity/principal.js";
import { ApiKeySchema } from "../gen/proto/tilegate/v1/api_key_pb.js";
import {
  ListApiKeysRequestSchema,
  VerifyApiKeyRequestSchema,
} from "../gen/proto/tilegate/v1/api_key_service_pb.js";
import { checked } from "../schema/validate.js";
import { print, printError } from "./output.js";
import { CONFIGURED, parseTime, parseUuid, resolveAccount, showProgress, withBackend } from "./session.js";

const ACCOUNT = ["--account <id or name>", "the account that owns the keys"] as const;
const JSON_OUTPUT = ["--json", "print JSON", false] as const;

interface CreateOptions {
  account: string;
  name?: string;
  description?: string;
  userAgent?: string;
  origin: string[];
  allowedIp: string[];
  dataset: string[];
  expires?: Date;
  json: boolean;
}

interface VerifyOptions {
  origin?: string;
  referer?: string;
  userAgent?: string;
  clientIp?: string;
  dataset?: string;
  json: boolean;
}

export function addKeyCommands(program: Command, env: NodeJS.ProcessEnv): void {
  const keys = program.command("keys").description("manage publishable API keys");

  keys
    .command("list")
    .description(`list an account's keys, newest first. ${CONFIGURED}`)
    .requiredOption(...ACCOUNT)
    .option("--limit <number>", "keys per page, 10 to 100", parseNumber, 50)
    .option("--cursor <cursor>", "where to go on: what the page before ended with")
    .option(...JSON_OUTPUT)
    .action(
      ({ account, json, ...request }: { account: string; limit: number; cursor?: string; json: boolean }) =>
        withBackend(env, async ({ useCases }) => {
          checked(ListApiKeysRequestSchema, request);
          const accountId = await resolveAccount(useCases, account);
          const page = await useCases.apiKeys.list(OPERATOR, request, accountId);
          print(page.items.map(toRow), json);
          const shown = `${page.items.length} of ${page.totalCount} keys`;
          const more = page.cursor === undefined ? "" : `; the next page: --cursor ${page.cursor}`;
          const unreadable = page.items.filter(({ token }) => token === undefined).length;
          const trouble = unreadable > 0 ? `; ${unreadable} can't be decrypted: rotate or delete them` : "";
          printError(`${shown}${trouble}${more}`);
        }),
    );

  keys
    .command("create")
    .description(`create a key. ${CONFIGURED}`)
    .requiredOption(...ACCOUNT)
    .option("--name <name>", "what it is called (default: a generated name)")
    .option("--description <text>", "what it is for")
    .option("--origin <pattern>", "where it may be used, such as maps.example.com; repeatable", collect, [])
    .option("--user-agent <text>", "what requests must carry in their User-Agent")
    .option(
      "--allowed-ip <range>",
      "an IP address or range that requests must come from; repeatable",
      collect,
      [],
    )
    .option("--dataset <uuid>", "a dataset that it opens; repeatable", collect, [])
    .option("--expires <time>", "when it stops working, in RFC 3339 (default: never)", parseTime)
    .option(...JSON_OUTPUT)
    .action((options: CreateOptions) =>
      withBackend(env, async ({ useCases }) => {
        const { name, description, userAgent, origin: origins, allowedIp: allowedIps, expires } = options;
        const plain = { name, description, userAgent, origins, allowedIps, datasetIds: options.dataset };
        checked(ApiKeySchema, plain);
        const settings = { ...plain, expireTime: expires };
        const accountId = await resolveAccount(useCases, options.account);
        print(toRow(await useCases.apiKeys.create(OPERATOR, settings, accountId)), options.json);
      }),
    );

  keys
    .command("rotate")
    .description(`give a key a new token; the old one works for a while yet. ${CONFIGURED}`)
    .argument("<id>", "the key's id", parseUuid)
    .option("--grace <seconds>", "how long the old token works, 0 to 2592000", parseGrace, 86_400)
    .option(...JSON_OUTPUT)
    .action((id: string, options: { grace: number; json: boolean }) =>
      withBackend(env, async ({ useCases }) => {
        const rotated = await useCases.apiKeys.rotate(OPERATOR, id, { gracePeriodSeconds: options.grace });
        print(toRow(rotated), options.json);
      }),
    );

  keys
    .command("delete")
    .description(`delete a key, at once; it can be restored for 30 days. ${CONFIGURED}`)
    .argument("<id>", "the key's id", parseUuid)
    .option(...JSON_OUTPUT)
    .action((id: string, { json }: { json: boolean }) =>
      withBackend(env, async ({ useCases }) => {
        print(toRow(await useCases.apiKeys.delete(OPERATOR, id)), json);
      }),
    );

  keys
    .command("verify")
    .description(
      `tell whether a key may be used for a request, and if not which rule refuses it. ${CONFIGURED}`,
    )
    .argument("<token>", "the key, tgk_…")
    .option("--origin <origin>", "the request's Origin header")
    .option("--referer <url>", "the request's Referer header")
    .option("--user-agent <text>", "the request's User-Agent header")
    .option("--client-ip <address>", "the client's IP address (default: unknown)")
    .option("--dataset <uuid>", "the dataset that the request is for", parseUuid)
    .option(...JSON_OUTPUT)
    .action((token: string, { json, dataset: datasetId, ...source }: VerifyOptions) =>
      withBackend(env, async ({ useCases }) => {
        checked(VerifyApiKeyRequestSchema, { token, ...source });
        const request = { ...source, datasetId };
        const verdict = await useCases.apiKeyVerification.verify(OPERATOR, token, request);
        if (verdict.valid) {
          print(
            { valid: true, key: verdict.principal.apiKeyId, expire_time: verdict.expireTime?.toISOString() },
            json,
          );
          return;
        }
        print({ valid: false, refusal: verdict.refusal, why: why(verdict), key: verdict.key?.id }, json);
        process.exitCode = 1;
      }),
    );

  keys
    .command("reencrypt")
    .description(
      `move every key to the first of ENCRYPTION_KEYS, while serving; may be interrupted and run again. ${CONFIGURED}`,
    )
    .option(...JSON_OUTPUT)
    .action(({ json }: { json: boolean }) =>
      withBackend(env, async ({ secrets, stores }) => {
        const progress = await reencryptApiKeys({
          unitOfWork: stores.unitOfWork,
          store: stores.apiKeys,
          vault: createVault(secrets.encryptionKeys),
          onProgress: ({ scanned }) => showProgress(`${scanned} keys`, false),
          onUnreadable: (error) => printError(error.message),
        });
        showProgress(`${progress.scanned} keys`, true);
        print({ ...progress }, json);
        if (progress.unreadable > 0) process.exitCode = 1;
      }),
    );
}

const WHY: Record<ApiKeyRefusal, string> = {
  not_found: "there is no such key, or it is malformed or deleted",
  disabled: "the key is disabled",
  expired: "the key, or this token of a rotated key, has expired",
  origin: "the Origin, else the Referer, is not among the key's origins",
  user_agent: "the User-Agent does not carry the key's text",
  ip: "the client's address is not within the key's allowed IPs, or unknown",
  dataset: "the key does not open the dataset",
  rate_limited: "the key was used too often",
};

function why({ refusal, expireTime, retryAfterSeconds }: RefusedApiKey): string {
  if (refusal === "expired" && expireTime) return `${WHY.expired}: ${expireTime.toISOString()}`;
  if (refusal === "rate_limited") return `${WHY.rate_limited}: wait ${retryAfterSeconds} s`;
  return WHY[refusal];
}

const toRow = ({ key, token }: RevealedApiKey) => ({
  id: key.id,
  name: key.name,
  token: token ?? null,
  origins: key.origins.join(" "),
  allowed_ips: key.allowedIps.join(" "),
  enabled: key.enabled,
  expire_time: key.expireTime?.toISOString(),
  create_time: key.created.toISOString(),
  last_used_time: key.lastUsed?.toISOString(),
});

const collect = (value: string, before: string[]): string[] => [...before, value];

function parseNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

function parseGrace(text: string): number {
  const seconds = parseNumber(text);
  if (seconds > 2_592_000) throw new InvalidArgumentError("It must be at most 2592000, which is 30 days.");
  return seconds;
}
