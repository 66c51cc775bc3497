// Opens the database that the first argument describes (JSON), writes an account of the name in the second, says
// when that is acknowledged, and holds the database until it is killed. Runs what `npm run build` made.
import { randomUUID } from "node:crypto";
import { openDatabase } from "../../dist/stores/prisma/database.js";
import { createPrismaUnitOfWork } from "../../dist/stores/prisma/unit-of-work.js";

const [options = "", name = ""] = process.argv.slice(2);
const database = await openDatabase(JSON.parse(options));
await database.migrate();
const account = { id: randomUUID(), name, created: new Date() };
await createPrismaUnitOfWork(database).write(({ accounts }) => accounts.insert(account));
process.stdin.resume();
process.stdout.write("acknowledged\n");
