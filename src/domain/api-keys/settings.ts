import type { DatasetStore } from "../datasets/dataset.js";
import { invalid, notFound } from "../errors.js";
import { isIpRange } from "../ip-ranges.js";
import { canonicalUuid } from "../uuid.js";
import type { ApiKey, ApiKeySettings, RateLimit } from "./api-key.js";
import { requireValidOrigins } from "./origins.js";

/** A setting that is present changes, null clears it to its default, an absent one stays as it is. */
export type ApiKeyChange = PlainChange & { readonly rateLimit?: RateLimitInput | null | undefined };

/** Of those that are stored as they are given. */
type PlainChange = {
  readonly [Setting in PlainSetting]?: ApiKeySettings[Setting] | null | undefined;
};

type PlainSetting = Exclude<keyof ApiKeySettings, "rateLimit">;

/** A window that is absent is a minute. */
export type RateLimitInput = Pick<RateLimit, "requests"> & Partial<RateLimit>;

const DEFAULT_WINDOW_SECONDS = 60;

/** An empty name is replaced by a generated one. */
export const DEFAULT_SETTINGS: ApiKeySettings = {
  name: "",
  description: "",
  userAgent: "",
  origins: [],
  allowedIps: [],
  enabled: true,
  expireTime: undefined,
  datasetIds: [],
  rateLimit: undefined,
};

/** `key` with the change applied, not yet checked. */
export function changeSettings(key: ApiKey, change: ApiKeyChange): ApiKey {
  const plain: PlainChange = change;
  const changed = <Setting extends PlainSetting>(setting: Setting): ApiKeySettings[Setting] => {
    const value: ApiKeySettings[Setting] | null | undefined = plain[setting];
    if (value === undefined) return key[setting];
    return value === null ? DEFAULT_SETTINGS[setting] : value;
  };
  return {
    ...key,
    name: changed("name") || generatedName(key),
    description: changed("description"),
    userAgent: changed("userAgent"),
    origins: changed("origins"),
    allowedIps: changed("allowedIps"),
    enabled: changed("enabled"),
    expireTime: changed("expireTime"),
    datasetIds: [...new Set(changed("datasetIds").map(canonicalUuid))],
    rateLimit: change.rateLimit === undefined ? key.rateLimit : rateLimit(change.rateLimit),
  };
}

const rateLimit = (input: RateLimitInput | null): RateLimit | undefined =>
  input === null
    ? DEFAULT_SETTINGS.rateLimit
    : { requests: input.requests, windowSeconds: input.windowSeconds ?? DEFAULT_WINDOW_SECONDS };

/**
 * Checks what a schema can't say of a change that made `key`: origin patterns, IP ranges, an expiry in the future, datasets of
 * the key's own account.
 * @throws DomainError invalid_argument, or not_found for a dataset.
 */
export async function requireValidChange(
  key: ApiKey,
  change: ApiKeyChange,
  listedBefore: readonly string[],
  { datasets, now }: { readonly datasets: Pick<DatasetStore, "readMany">; readonly now: Date },
): Promise<void> {
  requireValidOrigins(change.origins ?? []);
  requireIpRanges(change.allowedIps ?? []);
  if (change.expireTime && change.expireTime <= now) throw invalid("expire_time", "must be in the future");
  // Datasets go while keys list them: what a key lists already may be written back to it.
  const added = key.datasetIds.filter((id) => !listedBefore.includes(id));
  if (added.length === 0) return;
  const found = await datasets.readMany(added);
  const missing = added.find((id) => found.get(id)?.accountId !== key.accountId);
  if (missing !== undefined) throw notFound(`dataset ${missing}`);
}

function requireIpRanges(texts: readonly string[]): void {
  const wrong = texts.findIndex((text) => !isIpRange(text));
  if (wrong === -1) return;
  throw invalid(`allowed_ips[${wrong}]`, "must be an IP address or a range such as 192.0.2.0/24");
}

/** For example "Key 2026-11-21 7f3a": when it was made, and how its id begins. */
function generatedName({ id, created }: ApiKey): string {
  return `Key ${created.toISOString().slice(0, 10)} ${id.slice(0, 4)}`;
}
