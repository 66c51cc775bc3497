import { execFileSync } from "node:child_process";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../../harness/servers.mjs";
import { generateSecret } from "../../src/domain/identity/secret.js";
import { openDatabase } from "../../src/stores/prisma/database.js";
import { postgresUrl } from "../harness/postgres.js";
import { type ApiKeyFixture, type KeyUseCases, OPERATOR, openApiKeyFixture } from "./api-key-fixture.js";

const pgDump = findProgram("pg_dump");
const ring = [randomBytes(32)];

describe.skipIf(!postgresUrl())("keys in PostgreSQL", () => {
  let fixture: ApiKeyFixture;
  let accountId: string;
  let useCases: KeyUseCases;
  beforeAll(async () => {
    fixture = await openApiKeyFixture();
    accountId = await fixture.insertAccount();
    useCases = fixture.useCases(ring);
  });
  afterAll(() => fixture?.[Symbol.asyncDispose]());

  const create = () => useCases.keys.create(OPERATOR, {}, accountId);

  test.skipIf(!pgDump)("a stolen dump holds no token, no part of one, and no plain hash of one", async () => {
    const tokens: string[] = [];
    for (let round = 0; round < 250; round++) {
      const created = await Promise.all([create(), create(), create(), create()]);
      const rotated = await useCases.keys.rotate(OPERATOR, created[0].key.id);
      tokens.push(...[...created, rotated].map(({ token }) => token));
    }
    const dump = execFileSync(pgDump ?? "", ["--dbname", fixture.server.url], {
      encoding: "utf8",
      maxBuffer: 2 ** 30,
    });
    expect(dump.match(/\\\\x[0-9a-f]{64}\t/g)).toHaveLength(1_250);
    expect(findTraces(dump, tokens)).toEqual([]);
  });

  test("the search of the dump would find a token in any form", () => {
    const [token, other] = [generateSecret("tgk_"), generateSecret("tgk_")];
    for (const { text } of tracesOf(token)) {
      expect(findTraces(`\t${text}\t`, [other, token])).not.toEqual([]);
      expect(findTraces(`\t\\\\x${Buffer.from(text).toString("hex")}\t`, [other, token])).not.toEqual([]);
    }
    expect(findTraces(`\t${token.slice(10, 20)}\t`, [token])).toHaveLength(1);
  });

  test("who can write to the database can't read a token by putting its ciphertext into a row of their own", async () => {
    const [victim, own] = [await create(), await create()];
    await fixture.database.prisma.$executeRaw`
      UPDATE api_keys SET current_ciphertext = (SELECT current_ciphertext FROM api_keys WHERE id = ${victim.key.id}::uuid)
      WHERE id = ${own.key.id}::uuid`;
    expect((await useCases.keys.get(OPERATOR, own.key.id)).token).toBeUndefined();
    expect((await useCases.keys.get(OPERATOR, victim.key.id)).token).toBe(victim.token);
  });

  test("a malformed key costs no SQL, any other a single statement", async () => {
    const { token } = await create();
    const statementsFor = async (...presented: readonly string[]) => {
      const before = await fixture.server.statementCount();
      for (const each of presented) await useCases.verification.resolve(each, {});
      return (await fixture.server.statementCount()) - before;
    };
    const guesses = Array.from({ length: 100 }, () => `tgk_${randomBytes(17).toString("hex").slice(1)}`);
    expect(await statementsFor(...guesses, "", `${token}0`, token.toLowerCase())).toBe(0);
    expect(await statementsFor(generateSecret("tgk_"))).toBe(1);
    expect(await statementsFor(token)).toBe(1);
  });

  test("verifying writes nothing: it works on a database that refuses writes", async () => {
    const { key, token: previous } = await create();
    const { token } = await useCases.keys.rotate(OPERATOR, key.id);
    const url = new URL(fixture.server.url);
    url.searchParams.set("options", "-c default_transaction_read_only=on");
    await using database = await openDatabase({ url: url.href });
    await expect(fixture.useCases(ring, database).keys.delete(OPERATOR, key.id)).rejects.toThrow();
    const { verification } = fixture.useCases(ring, database);
    expect(await verification.verify(OPERATOR, token, {})).toMatchObject({ valid: true });
    expect(await verification.verify(OPERATOR, previous, {})).toMatchObject({ valid: true });
    const datasetId = randomUUID();
    expect(await verification.verify(OPERATOR, token, { datasetId })).toMatchObject({ refusal: "dataset" });
  });

  test("rotating twice within the grace period leaves two tokens, never three", async () => {
    const { key, token: first } = await create();
    const { token: second } = await useCases.keys.rotate(OPERATOR, key.id);
    const { token: third } = await useCases.keys.rotate(OPERATOR, key.id);
    const verdicts = await Promise.all(
      [first, second, third].map((token) => useCases.verification.resolve(token, {})),
    );
    expect(verdicts.map(({ valid }) => valid)).toEqual([false, true, true]);
  });

  test("a walk over all pages skips and repeats no key that lives throughout, while others come and go", async () => {
    const { keys } = useCases;
    const lifetimes = fc.array(fc.boolean(), { minLength: 1, maxLength: 25 });
    const changesAfterPage = fc.record({
      created: fc.nat({ max: 3 }),
      deleted: fc.array(fc.nat(), { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(
        lifetimes,
        fc.integer({ min: 1, max: 5 }),
        fc.array(changesAfterPage, { maxLength: 25 }),
        async (areLasting, limit, changes) => {
          const account = await fixture.insertAccount();
          const createKey = async () => (await keys.create(OPERATOR, {}, account)).key.id;
          const lasting: string[] = [];
          const passing: string[] = [];
          for (const isLasting of areLasting) (isLasting ? lasting : passing).push(await createKey());

          const seen: string[] = [];
          let cursor: string | undefined;
          for (let page = 0; page === 0 || cursor !== undefined; page++) {
            const listed = await keys.list(OPERATOR, { limit, cursor }, account);
            seen.push(...listed.items.map(({ key }) => key.id));
            cursor = listed.cursor;
            const { created = 0, deleted = [] } = changes[page] ?? {};
            for (let count = 0; count < created; count++) passing.push(await createKey());
            for (const choice of deleted) {
              const [id] = passing.splice(choice % (passing.length || 1), 1);
              if (id !== undefined) await keys.delete(OPERATOR, id);
            }
          }

          expect(new Set(seen).size).toBe(seen.length);
          expect(seen.filter((id) => lasting.includes(id))).toEqual(lasting.toReversed());
          const { totalCount } = await keys.list(OPERATOR, { limit: 1 }, account);
          expect(totalCount).toBe(lasting.length + passing.length);
        },
      ),
      { numRuns: 20 },
    );
  });
});

interface Trace {
  readonly text: string;
  /** So long is a piece of it that is no coincidence: 10 digits of base62 or base64, 16 hexadecimal ones. */
  readonly pieceLength: 10 | 16;
}

/** The forms in which a token, or a hash that needs no secret key, might be stored. */
function tracesOf(token: string): Trace[] {
  const secret = token.slice("tgk_".length);
  const hashes = [token, secret].flatMap((text) =>
    ["md5", "sha1", "sha256", "sha512"].map((hash) => createHash(hash).update(text).digest()),
  );
  // Base64 depends on what stands before.
  const shifted = [0, 1, 2].map((shift) => Buffer.from(" ".repeat(shift) + secret));
  return [
    { text: secret, pieceLength: 10 },
    ...[...shifted, ...hashes].map((bytes) => ({
      text: bytes.toString("base64").slice(4, -4),
      pieceLength: 10 as const,
    })),
    ...[Buffer.from(secret), ...hashes].map((bytes) => ({
      text: bytes.toString("hex"),
      pieceLength: 16 as const,
    })),
  ];
}

/** Pieces of tokens in the dump's text, or in the bytes of its binary columns. */
function findTraces(dump: string, tokens: readonly string[]): string[] {
  const columns = [...dump.matchAll(/\\\\x([0-9a-f]+)/g)].map(([, hex = ""]) =>
    Buffer.from(hex, "hex").toString("latin1"),
  );
  const content = [dump, ...columns].join("\n");
  const contained = { 10: new Set(pieces(content, 10)), 16: new Set(pieces(content, 16)) };
  return tokens
    .flatMap(tracesOf)
    .flatMap(({ text, pieceLength }) =>
      [...pieces(text, pieceLength)].filter((piece) => contained[pieceLength].has(piece)),
    );
}

function* pieces(text: string, length: number): Generator<string> {
  for (let start = 0; start + length <= text.length; start++) yield text.slice(start, start + length);
}
