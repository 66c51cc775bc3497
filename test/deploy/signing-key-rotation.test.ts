import { EventEmitter, once } from "node:events";
import { Agent, request } from "node:http";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
import { startTilegate, type Tilegate } from "../../harness/tilegate.mjs";
import { createSigningKeyRing } from "../../src/domain/tile-tokens/key-ring.js";
import { createSeededInstallation } from "../faults/seeded-installation.js";
import { postgresUrl } from "../harness/postgres.js";
import { createSecretVolume, type SecretVolume } from "../harness/secret-volume.js";

const WORKERS = 2;
const CALLERS = 6;

/** Whole lives of tokens pass while the test runs. */
const TTL_SECONDS = 2;
const MIN_VALIDITY_SECONDS = 1;

const SECRETS = ["first", "second", "third"].map((name) => `the-${name}-secret-of-a-test`);
const [FIRST = "", SECOND = "", THIRD = ""] = SECRETS;

interface Token {
  readonly sig: string;
  readonly exp: number;
  readonly scope: string;
}

/** Of a busy machine, whose database takes too long to say what a token opens: no verdict. */
const UNAVAILABLE = "unavailable";

/** Why it is refused; undefined if it is not. */
type Refusal = string | undefined;

const signatureOf = (secret: string, scope: string, exp: number) =>
  createSigningKeyRing("hmac", { hmac: [secret], ed25519: [] }).sign(scope, exp);

const nowSeconds = () => Math.floor(Date.now() / 1000);

/** One caller's connections, one to each replica, and so to whichever of its workers. */
function createCaller(datasetId: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());

  async function ask(url: string, headers: Record<string, string>, body?: unknown) {
    const sent = request(url, { agent, headers, method: body === undefined ? "GET" : "POST" });
    sent.end(body === undefined ? "" : JSON.stringify(body));
    const [response] = await once(sent, "response");
    return { status: response.statusCode, headers: response.headers, body: await text(response) };
  }

  return {
    /** Undefined: the replica is too busy. */
    async mint(replica: Tilegate): Promise<Token | undefined> {
      const { status, body } = await ask(
        `${replica.url}/api/tiles/tokens/`,
        {},
        { dataset_ids: [datasetId] },
      );
      if (status === 503) return undefined;
      const token = JSON.parse(body).tokens[datasetId];
      return /can't be read now/.test(token.error) ? undefined : token;
    },
    /** By both doors that verify, in turn. */
    async verify(replica: Tilegate, { sig, exp, scope }: Token, turn: number): Promise<Refusal> {
      if (turn % 2 === 0) {
        const uri = `/tiles/data.${scope}/0/0/0.pbf?sig=${sig}&exp=${exp}&scope=${scope}`;
        const { status, headers } = await ask(`${replica.url}/auth/tiles`, { "x-original-uri": uri });
        if (status === 503) return UNAVAILABLE;
        return status === 200 ? undefined : headers["x-tilegate-reason"];
      }
      const { status, body } = await ask(
        `${replica.url}/tilegate.v1.TileTokenService/VerifyTileToken`,
        { "content-type": "application/json" },
        { sig, exp, scope },
      );
      if (status === 503) return UNAVAILABLE;
      const { valid, reason = "" } = JSON.parse(body);
      return valid === true ? undefined : reason.replace("TILE_TOKEN_INVALID_REASON_", "").toLowerCase();
    },
  };
}

/**
 * Callers that mint tokens at either replica, have the other one, and later any, verify them, and try to pass forged ones, until the
 * test is over.
 */
function startLoad(replicas: readonly Tilegate[], datasetId: string) {
  const progress = new EventEmitter();
  const failures: unknown[] = [];
  const counts = { minted: 0, accepted: 0, refused: 0 };
  const mintedBy = new Map<string, number>();
  /** Keys that may sign now, and keys that are in no ring: also of calls that are on their way. */
  let signers: readonly string[] = [FIRST];
  let strangers: readonly string[] = [SECOND, THIRD];
  /** Tokens of the last seconds. */
  let live: Token[] = [];
  let isOver = false;

  const signerOf = ({ sig, exp, scope }: Token) =>
    SECRETS.find((secret) => signatureOf(secret, scope, exp) === sig) ?? "nobody";

  async function run(caller: ReturnType<typeof createCaller>, index: number): Promise<void> {
    for (let turn = index; !isOver; turn += 1) {
      const [one, other] = turn % 2 === 0 ? replicas : replicas.toReversed();
      if (one === undefined || other === undefined) throw new Error("there are two replicas");

      const before = signers;
      const token = await caller.mint(one);
      if (token === undefined) continue;
      const signer = signerOf(token);
      if (![...before, ...signers].includes(signer)) failures.push({ signer, before, signers });
      counts.minted += 1;
      mintedBy.set(signer, (mintedBy.get(signer) ?? 0) + 1);
      live = [...live.filter(({ exp }) => exp > nowSeconds()), token].slice(-500);

      const good = [
        [other, token],
        [one, live[turn % live.length] ?? token],
      ] as const;
      for (const [replica, shown] of good) {
        const refusal = await caller.verify(replica, shown, turn);
        if (refusal === undefined) counts.accepted += 1;
        else if (refusal === UNAVAILABLE) continue;
        else if (refusal !== "expired" || nowSeconds() < shown.exp) failures.push({ refusal, shown });
      }

      const { sig, exp, scope } = token;
      const unknown = strangers;
      const digit = sig.startsWith("0") ? "1" : "0";
      const forged = [
        ...unknown.map((secret) => ({ secret, token: { exp, scope, sig: signatureOf(secret, scope, exp) } })),
        { secret: "", token: { ...token, sig: digit + sig.slice(1) } },
        { secret: "", token: { ...token, exp: exp + TTL_SECONDS } },
        { secret: "", token: { ...token, scope: `${scope}s` } },
      ];
      const { secret, token: bad } = forged[turn % forged.length] ?? { secret: "", token };
      const refusal = await caller.verify(other, bad, turn);
      // One that wasn't yet, or was no longer, a stranger when it was asked about says nothing.
      if (secret === "" || strangers.includes(secret)) {
        if (refusal === undefined) failures.push({ accepted: bad, secret });
        else if (refusal !== UNAVAILABLE) counts.refused += 1;
      }
      progress.emit("turn");
    }
  }

  const callers = Array.from({ length: CALLERS }, (_, index) =>
    run(createCaller(datasetId), index).catch((error) => {
      failures.push(error);
      progress.emit("turn");
    }),
  );
  onTestFinished(() => {
    isOver = true;
  });

  async function until(condition: () => boolean): Promise<void> {
    while (!condition() && failures.length === 0) await once(progress, "turn");
  }

  return {
    failures,
    counts,
    mintedBy,
    async more(turns: number) {
      const goal = counts.minted + turns;
      await until(() => counts.minted >= goal);
    },
    /** So long that all tokens have expired that are out. */
    async aLifetime() {
      const end = Date.now() + 2 * TTL_SECONDS * 1000;
      await until(() => Date.now() >= end);
    },
    setSigners(...secrets: string[]) {
      signers = secrets;
    },
    setStrangers(...secrets: string[]) {
      strangers = secrets;
    },
    async stop() {
      isOver = true;
      await Promise.all(callers);
    },
  };
}

describe.skipIf(!postgresUrl())("with two replicas of two workers", () => {
  test("signing keys rotated twice under load: no good token is refused, and no bad one accepted", async () => {
    await using installation = await createSeededInstallation();
    const [datasetId = ""] = await installation.newDatasets(1);
    const volumes: SecretVolume[] = [];
    for (let count = 0; count < 2; count += 1) volumes.push(await createSecretVolume({ keys: FIRST }));
    onTestFinished(async () => {
      for (const volume of volumes) await volume[Symbol.asyncDispose]();
    });
    const replicas = await Promise.all(
      volumes.map(async (volume) => {
        const replica = await startTilegate({
          ...installation.env,
          TILE_SIGNING_KEYS: "",
          TILE_SIGNING_KEYS_FILE: volume.pathOf("keys"),
          TILE_TOKEN_TTL_SECONDS: String(TTL_SECONDS),
          TILE_TOKEN_MIN_VALIDITY_SECONDS: String(MIN_VALIDITY_SECONDS),
          DATASET_CACHE_TTL_SECONDS: "3600",
          WORKERS: String(WORKERS),
        });
        onTestFinished(replica.stop);
        return replica;
      }),
    );

    let steps = 0;
    /** Gives a replica these keys, and waits until each of its workers has them. */
    const give = async (index: number, keys: readonly string[]) => {
      await volumes[index]?.put({ keys: `${keys.join()}\n` });
      await replicas[index]?.logged("signing keys reloaded", steps * WORKERS);
    };
    const oneByOne = async (...keys: string[]) => {
      steps += 1;
      for (const index of volumes.keys()) {
        await give(index, keys);
        await load.more(CALLERS);
      }
    };
    const together = async (...keys: string[]) => {
      steps += 1;
      await Promise.all([...volumes.keys()].map((index) => give(index, keys)));
      await load.more(CALLERS);
    };

    const load = startLoad(replicas, datasetId);
    await load.more(CALLERS);
    for (const [old, next, others, step] of [
      [FIRST, SECOND, [THIRD], oneByOne],
      [SECOND, THIRD, [FIRST], together],
    ] as const) {
      load.setStrangers(...others);
      await step(old, next);
      load.setSigners(old, next);
      await step(next, old);
      load.setSigners(next);
      await load.aLifetime();
      await step(next);
      load.setStrangers(old, ...others);
      await load.more(4 * CALLERS);
    }
    await load.stop();
    expect(load.failures).toEqual([]);
    for (const secret of SECRETS) expect(load.mintedBy.get(secret)).toBeGreaterThan(0);
    expect(load.counts.accepted).toBeGreaterThan(load.counts.minted);
    expect(load.counts.refused).toBeGreaterThan(load.counts.minted / 2);
    // Five processes start, and tokens live out their lives twice.
  }, 180_000);
});
