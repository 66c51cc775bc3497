import { Command } from "commander";
import { readConfig } from "../config/config.js";
import { OPERATOR } from "../domain/identity/principal.js";
import {
  CreateAccountRequestSchema,
  CreateServiceTokenRequestSchema,
} from "../gen/proto/tilegate/v1/account_service_pb.js";
import { checked } from "../schema/validate.js";
import { addHealthcheckCommand } from "./healthcheck.js";
import { readImportFile } from "./import-file.js";
import { addKeyCommands } from "./key-commands.js";
import { COMMAND_OUTPUT, print } from "./output.js";
import { CONFIGURED, parseTime, parseUuid, resolveAccount, showProgress, withBackend } from "./session.js";

/** Whoever can run a command with the installation's configuration acts as its operator. */
export function createProgram(env: NodeJS.ProcessEnv, version: string): Command {
  const program = new Command("tilegate")
    .description("Access service for map platforms: signed tile tokens and publishable API keys.")
    .version(version)
    // Commands inherit it: who runs the program decides about the process.
    .exitOverride()
    .configureOutput(COMMAND_OUTPUT)
    .showHelpAfterError("(--help shows how)");

  program
    .command("serve", { isDefault: true })
    .description("run the service (the default)")
    .action(async () => (await import("./serve.js")).serve(env));

  program
    .command("migrate")
    .description(`bring the database's schema up to this version. ${CONFIGURED}`)
    .option("--json", "print JSON", false)
    .action(async ({ json }: { json: boolean }) => {
      const config = readConfig(env);
      const { openDatabase } = await import("../stores/prisma/database.js");
      await using database = await openDatabase(config.database);
      const applied = await database.migrate();
      print(
        applied.map((migration) => ({ applied: migration })),
        json,
      );
    });

  addHealthcheckCommand(program, env);

  const account = program.command("account").description("manage accounts");
  account
    .command("create")
    .description(`create an account. ${CONFIGURED}`)
    .requiredOption("--name <name>", "unique name, up to 100 characters")
    .option("--id <uuid>", "id, such as the tenant's in another system (default: a new one)", parseUuid)
    .option("--json", "print JSON", false)
    .action(async ({ name, id, json }: { name: string; id?: string; json: boolean }) => {
      await withBackend(env, async ({ useCases: { accounts } }) => {
        checked(CreateAccountRequestSchema, { id, name });
        const created = await accounts.create(OPERATOR, { id, name });
        print({ id: created.id, name: created.name, create_time: created.created.toISOString() }, json);
      });
    });

  const serviceToken = program.command("service-token").description("manage service tokens");
  serviceToken
    .command("create")
    .description(`create a service token and print its secret, this once. ${CONFIGURED}`)
    .requiredOption("--account <id or name>", "the account that it acts for")
    .option("--name <name>", "what it is for, up to 100 characters", "")
    .option("--expires <time>", "when it expires, in RFC 3339 (default: never)", parseTime)
    .option("--json", "print JSON", false)
    .action(async (options: { account: string; name: string; expires?: Date; json: boolean }) => {
      await withBackend(env, async ({ useCases }) => {
        checked(CreateServiceTokenRequestSchema, { name: options.name });
        const accountId = await resolveAccount(useCases, options.account);
        const { serviceToken: created, secret } = await useCases.accounts.createServiceToken(OPERATOR, {
          accountId,
          name: options.name,
          expireTime: options.expires,
        });
        const expires = created.expireTime?.toISOString();
        print(
          { id: created.id, account: accountId, name: created.name, expire_time: expires, token: secret },
          options.json,
        );
      });
    });

  const datasets = program.command("datasets").description("manage datasets");
  datasets
    .command("import")
    .description(`create or replace the datasets of a JSON file, all or nothing. ${CONFIGURED}`)
    .argument("<FILE.json>", "an array of datasets: see docs/datasets.md")
    .requiredOption("--account <id or name>", "the account that owns them")
    .option("--json", "print JSON", false)
    .action(async (file: string, options: { account: string; json: boolean }) => {
      const inputs = await readImportFile(file);
      await withBackend(env, async ({ useCases }) => {
        const accountId = await resolveAccount(useCases, options.account);
        const result = await useCases.datasets.upsert(OPERATOR, accountId, inputs, (done) =>
          showProgress(`${done} of ${inputs.length} datasets`, done === inputs.length),
        );
        print({ created: result.createdCount, updated: result.updatedCount }, options.json);
      });
    });

  addKeyCommands(program, env);
  return program;
}
