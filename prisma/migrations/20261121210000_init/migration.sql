-- CreateEnum
CREATE TYPE "dataset_kind" AS ENUM ('vector', 'raster');

-- CreateEnum
CREATE TYPE "dataset_visibility" AS ENUM ('public', 'restricted', 'private');

-- CreateEnum
CREATE TYPE "publication_status" AS ENUM ('draft', 'published');

-- CreateTable
CREATE TABLE "accounts" (
    "id" UUID NOT NULL,
    "seq" BIGSERIAL NOT NULL,
    "name" TEXT NOT NULL,
    "created" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "accounts_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "service_tokens" (
    "id" UUID NOT NULL,
    "seq" BIGSERIAL NOT NULL,
    "account_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "secret_hash" BYTEA NOT NULL,
    "created" TIMESTAMPTZ(3) NOT NULL,
    "expire_time" TIMESTAMPTZ(3),
    "revoked" TIMESTAMPTZ(3),

    CONSTRAINT "service_tokens_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "datasets" (
    "id" UUID NOT NULL,
    "seq" BIGSERIAL NOT NULL,
    "account_id" UUID NOT NULL,
    "kind" "dataset_kind" NOT NULL,
    "title" TEXT NOT NULL,
    "table_name" TEXT,
    "scope" TEXT NOT NULL,
    "visibility" "dataset_visibility" NOT NULL,
    "status" "publication_status" NOT NULL,
    "owner" TEXT,
    "reader_roles" TEXT[],
    "reader_subjects" TEXT[],
    "tile_url_template" TEXT,
    "bounds" DOUBLE PRECISION[],
    "minzoom" SMALLINT NOT NULL,
    "maxzoom" SMALLINT NOT NULL,
    "tile_size" INTEGER NOT NULL,
    "format" TEXT NOT NULL,
    "cache_version" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "created" TIMESTAMPTZ(3) NOT NULL,
    "changed" TIMESTAMPTZ(3) NOT NULL,
    "deleted" TIMESTAMPTZ(3),

    CONSTRAINT "datasets_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "accounts_seq_key" ON "accounts"("seq");

-- CreateIndex
CREATE UNIQUE INDEX "accounts_name_key" ON "accounts"("name");

-- CreateIndex
CREATE UNIQUE INDEX "service_tokens_secret_hash_key" ON "service_tokens"("secret_hash");

-- CreateIndex
CREATE INDEX "service_tokens_account_id_seq_idx" ON "service_tokens"("account_id", "seq");

-- CreateIndex
CREATE UNIQUE INDEX "datasets_seq_key" ON "datasets"("seq");

-- CreateIndex
CREATE UNIQUE INDEX "datasets_scope_key" ON "datasets"("scope");

-- CreateIndex
CREATE INDEX "datasets_account_id_seq_idx" ON "datasets"("account_id", "seq");

-- AddForeignKey
ALTER TABLE "service_tokens" ADD CONSTRAINT "service_tokens_account_id_fkey" FOREIGN KEY ("account_id") REFERENCES "accounts"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "datasets" ADD CONSTRAINT "datasets_account_id_fkey" FOREIGN KEY ("account_id") REFERENCES "accounts"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
