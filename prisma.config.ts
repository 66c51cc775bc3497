import { defineConfig } from "prisma/config";

export default defineConfig({
  schema: "prisma/schema.prisma",
  migrations: { path: "prisma/migrations" },
  // Only `prisma migrate` needs an address; `prisma generate` runs without one.
  datasource: { url: process.env.DATABASE_URL ?? "" },
});
