-- AlterTable
ALTER TABLE "datasets" ADD COLUMN     "revoked_until_exp" TIMESTAMPTZ(3);

-- CreateIndex
CREATE INDEX "datasets_revoked_until_exp_idx" ON "datasets"("revoked_until_exp") WHERE (revoked_until_exp IS NOT NULL);
