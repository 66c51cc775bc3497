-- AlterTable
ALTER TABLE "accounts" ADD COLUMN     "api_key_count" INTEGER NOT NULL DEFAULT 0;

-- CreateTable
CREATE TABLE "api_keys" (
    "id" UUID NOT NULL,
    "seq" BIGSERIAL NOT NULL,
    "account_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT NOT NULL,
    "user_agent" TEXT NOT NULL,
    "origins" TEXT[],
    "enabled" BOOLEAN NOT NULL,
    "expire_time" TIMESTAMPTZ(3),
    "dataset_ids" UUID[],
    "rate_limit_requests" INTEGER,
    "rate_limit_window_seconds" INTEGER,
    "current_hash" BYTEA NOT NULL,
    "current_ciphertext" BYTEA NOT NULL,
    "previous_hash" BYTEA,
    "previous_ciphertext" BYTEA,
    "previous_expire_time" TIMESTAMPTZ(3),
    "created" TIMESTAMPTZ(3) NOT NULL,
    "changed" TIMESTAMPTZ(3) NOT NULL,
    "last_used" TIMESTAMPTZ(3),
    "deleted" TIMESTAMPTZ(3),
    "revision" INTEGER NOT NULL,

    CONSTRAINT "api_keys_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "api_keys_current_hash_key" ON "api_keys"("current_hash");

-- CreateIndex
CREATE UNIQUE INDEX "api_keys_previous_hash_key" ON "api_keys"("previous_hash");

-- CreateIndex
CREATE INDEX "api_keys_account_id_seq_idx" ON "api_keys"("account_id", "seq") WHERE (deleted IS NULL);

-- AddForeignKey
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_account_id_fkey" FOREIGN KEY ("account_id") REFERENCES "accounts"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- accounts.api_key_count is the number of the account's keys that are not deleted. Every page of a listing tells it,
-- and counting a million index entries takes a tenth of a second. Triggers keep it because they see every writer, of
-- any version, and are in the same transaction as what they count.
-- One call a statement, not one a row: a bulk load of a million keys updates its account once, and does not leave a
-- million dead versions of that row behind. The update of the account waits for a concurrent one and adds to its
-- result, so no change is lost.
CREATE FUNCTION count_inserted_api_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts SET api_key_count = api_key_count + counted.difference
    FROM (
        SELECT account_id, count(*) AS difference FROM inserted WHERE deleted IS NULL GROUP BY account_id
    ) AS counted
    WHERE accounts.id = counted.account_id;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_removed_api_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts SET api_key_count = api_key_count - counted.difference
    FROM (
        SELECT account_id, count(*) AS difference FROM removed WHERE deleted IS NULL GROUP BY account_id
    ) AS counted
    WHERE accounts.id = counted.account_id;
    RETURN NULL;
END
$$;

-- Most updates (settings, rotations, times of use) change no number: they must not touch the account's row, or all
-- writes of an account would wait for each other.
CREATE FUNCTION count_updated_api_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts SET api_key_count = api_key_count + counted.difference
    FROM (
        SELECT account_id, sum(difference) AS difference
        FROM (
            SELECT account_id, 1 AS difference FROM after_update WHERE deleted IS NULL
            UNION ALL
            SELECT account_id, -1 FROM before_update WHERE deleted IS NULL
        ) AS differences
        GROUP BY account_id
        HAVING sum(difference) <> 0
    ) AS counted
    WHERE accounts.id = counted.account_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER count_inserted AFTER INSERT ON api_keys
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION count_inserted_api_keys();

CREATE TRIGGER count_removed AFTER DELETE ON api_keys
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_api_keys();

CREATE TRIGGER count_updated AFTER UPDATE ON api_keys
    REFERENCING OLD TABLE AS before_update NEW TABLE AS after_update
    FOR EACH STATEMENT EXECUTE FUNCTION count_updated_api_keys();
