import type { Database } from "./database.js";

export interface Installation {
  /** The same for all replicas, and for no other installation. */
  readonly id: string;
  /** How its datasets' scopes were made. */
  readonly tenancy: string;
}

/** The installation that the database is. As long as it has no dataset, `tenancy` becomes its own. */
export async function claimInstallation(
  { prisma }: Pick<Database, "prisma">,
  tenancy: string,
): Promise<Installation> {
  await prisma.$executeRaw`
      UPDATE installation SET tenancy = ${tenancy}
      WHERE tenancy IS NULL OR (tenancy <> ${tenancy} AND NOT EXISTS (SELECT FROM datasets))`;
  const { id, tenancy: claimed } = await prisma.installation.findFirstOrThrow();
  return { id, tenancy: claimed ?? tenancy };
}
