import type { UseCases } from "../compose/backend.js";
import { readSecretFile, writeSecretFile } from "../config/secret-files.js";
import type { ApiKeys } from "../domain/api-keys/api-keys.js";
import { OPERATOR } from "../domain/identity/principal.js";
import { DEMO_ACCOUNT, DEMO_DATASETS, DEMO_PRIVATE_DATASET_ID } from "./catalog.js";

/** What a new user needs to try the service out. */
export interface DemoCredentials {
  readonly serviceToken: string;
  /** Undefined once the demo's key is deleted or renamed, or when its token can't be decrypted. */
  readonly apiKey: string | undefined;
}

/** The secret is stored hashed, so the data directory keeps it for the next start's greeting. */
const SERVICE_TOKEN_FILE = "demo-service-token";
const NAME = "demo";

/**
 * Puts the demo catalog into an installation that has no account of its own. The file in `dataDir` is written last, so
 * that a seeding that was cut off is begun again: each of its steps may be repeated.
 * @param dataDir Absent: nothing is kept, and only an installation without any account is seeded.
 * @returns Undefined when there is no demo account.
 */
export async function seedDemo(
  { accounts, datasets, apiKeys }: UseCases,
  dataDir: string | undefined,
): Promise<DemoCredentials | undefined> {
  const { items } = await accounts.list(OPERATOR, { limit: 2 });
  const begun = items.some(({ id }) => id === DEMO_ACCOUNT.id);
  const kept = dataDir && (await readSecretFile(dataDir, SERVICE_TOKEN_FILE));
  if (begun && kept) return { serviceToken: kept, apiKey: await findKey(apiKeys) };
  if (items.length > (begun && dataDir ? 1 : 0)) return undefined;

  if (!begun) await accounts.create(OPERATOR, DEMO_ACCOUNT);
  await datasets.upsert(OPERATOR, DEMO_ACCOUNT.id, DEMO_DATASETS);
  const apiKey = (await findKey(apiKeys)) ?? (await createKey(apiKeys));
  const owner = { accountId: DEMO_ACCOUNT.id, name: NAME };
  const { secret: serviceToken } = await accounts.createServiceToken(OPERATOR, owner);
  if (dataDir) await writeSecretFile(dataDir, SERVICE_TOKEN_FILE, serviceToken);
  return { serviceToken, apiKey };
}

async function findKey(apiKeys: ApiKeys): Promise<string | undefined> {
  const { items } = await apiKeys.list(OPERATOR, { limit: 10 }, DEMO_ACCOUNT.id);
  return items.find(({ key }) => key.name === NAME)?.token;
}

async function createKey(apiKeys: ApiKeys): Promise<string> {
  const settings = {
    name: NAME,
    description: "Opens the public layers and the private one, on pages of localhost.",
    origins: ["localhost"],
    datasetIds: [DEMO_PRIVATE_DATASET_ID],
  };
  return (await apiKeys.create(OPERATOR, settings, DEMO_ACCOUNT.id)).token;
}
