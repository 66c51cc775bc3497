-- CreateTable
CREATE TABLE "installation" (
    "singleton" BOOLEAN NOT NULL DEFAULT true,
    "id" UUID NOT NULL DEFAULT gen_random_uuid(),
    "tenancy" TEXT,

    CONSTRAINT "installation_pkey" PRIMARY KEY ("singleton")
);

-- One row, ever.
ALTER TABLE "installation" ADD CONSTRAINT "installation_singleton_check" CHECK ("singleton");
INSERT INTO "installation" DEFAULT VALUES;
