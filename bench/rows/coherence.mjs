import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ApiKeyService } from "../../dist/gen/proto/tilegate/v1/api_key_service_pb.js";
import { DatasetVisibility } from "../../dist/gen/proto/tilegate/v1/dataset_pb.js";
import { DatasetService } from "../../dist/gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../../dist/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { insertDatasets } from "../bulk.mjs";
import { round } from "../compare.mjs";
import { startGenerator } from "../generator/start.mjs";
import { batchRequest } from "../requests.mjs";
import { percentile } from "../statistics.mjs";

/** 500 in a full run of 5 rounds. */
const CHANGES_PER_ROUND = 100;
/** On each of the two replicas, while changes are made. */
const BATCHES_PER_SECOND = 300;
const GIVE_UP_MS = 5_000;

/** @typedef {{ obeyed: number, sinceSent: number }} Times Milliseconds: since the acknowledgement, and in all. */

/** Changes are made on one replica; the other one is asked until it obeys. */
/** @type {import("../run.mjs").RowGroup} */
export const coherence = {
  ids: ["replica_obeys_p99_ms", "revoked_token_obeys_p99_ms"],
  async run(bench, wanted, { rounds }) {
    const changes = rounds * CHANGES_PER_ROUND;
    const { accountId, env } = bench.fixture;
    const one = await bench.startTilegate();
    const other = await bench.startTilegate();
    const [writer, reader] = [one, other].map(({ port }) =>
      createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }),
    );
    if (!writer || !reader) throw new Error("no transport");
    const datasets = createClient(DatasetService, writer);
    const apiKeys = createClient(ApiKeyService, writer);
    const tokens = createClient(TileTokenService, reader);
    const revoking = createClient(TileTokenService, writer);
    const operator = { headers: { authorization: `Bearer ${env.OPERATOR_TOKEN}` } };
    const made = await insertDatasets(bench, "coherence_", 3 * changes);
    const ids = made.map(({ id }) => id);
    const loads = await Promise.all([one, other].map(({ port }) => keepUnderLoad(bench, port)));

    /** A tile of a layer, by the other replica's forward auth. @param {string} scope @param {number} exp @param {string} sig */
    async function askForTile(scope, exp, sig) {
      const headers = { "x-original-uri": `/${scope}/1/1/1?sig=${sig}&exp=${exp}&scope=${scope}` };
      const { status } = await fetch(`http://127.0.0.1:${other.port}/auth/tiles`, { headers });
      if (status !== 200)
        throw new ConnectError(`status ${status}`, status === 403 ? Code.PermissionDenied : Code.Internal);
    }

    /** @param {() => Promise<unknown>} ask @param {Code} refusal @param {() => Promise<unknown>} change @returns {Promise<Times>} */
    async function timeOf(ask, refusal, change) {
      // Now it is warm on the replica that doesn't make the change.
      await ask();
      const sentAt = performance.now();
      await change();
      const acknowledgedAt = performance.now();
      for (;;) {
        const code = await ask().then(
          () => undefined,
          (error) => ConnectError.from(error).code,
        );
        const now = performance.now();
        if (code === refusal) return { obeyed: now - acknowledgedAt, sinceSent: now - sentAt };
        if (code !== undefined) throw new Error(`the replica answered ${Code[code]}`);
        if (now - acknowledgedAt > GIVE_UP_MS) throw new Error("the replica does not obey");
      }
    }

    /** @type {Times[]} */
    const visibility = [];
    /** @type {Times[]} */
    const deletes = [];
    /** @type {Times[]} */
    const revocations = [];
    /** @type {Times[]} */
    const revokedTokens = [];
    let batches = [];
    try {
      for (let index = 0; index < changes; index++) {
        const [hidden = "", deleted = ""] = [ids[index], ids[changes + index]];
        const hide = { id: hidden, visibility: DatasetVisibility.PRIVATE };
        visibility.push(
          await timeOf(
            () => tokens.getTileToken({ datasetId: hidden }),
            Code.Unauthenticated,
            () => datasets.updateDataset({ dataset: hide, updateMask: { paths: ["visibility"] } }, operator),
          ),
        );
        deletes.push(
          await timeOf(
            () => tokens.getTileToken({ datasetId: deleted }),
            Code.NotFound,
            () => datasets.deleteDataset({ id: deleted }, operator),
          ),
        );
        const layer = made[2 * changes + index];
        const { token } = await tokens.getTileToken({ datasetId: layer?.id ?? "" });
        const { scope = "", exp = 0, sig = "" } = token.value ?? {};
        revokedTokens.push(
          await timeOf(
            () => askForTile(scope, exp, sig),
            Code.PermissionDenied,
            () => revoking.revokeTileTokens({ datasetId: layer?.id ?? "" }, operator),
          ),
        );
        const { apiKey } = await apiKeys.createApiKey({ apiKey: { accountId } }, operator);
        const bearer = { headers: { "x-api-key": apiKey?.token ?? "" } };
        const datasetId = bench.fixture.datasets[0]?.id ?? "";
        revocations.push(
          await timeOf(
            () => tokens.getTileToken({ datasetId }, bearer),
            Code.Unauthenticated,
            () => apiKeys.deleteApiKey({ id: apiKey?.id ?? "" }, operator),
          ),
        );
      }
    } finally {
      batches = await Promise.all(loads.map((stop) => stop()));
    }
    await one.process.stop();
    await other.process.stop();

    const all = [...visibility, ...deletes, ...revocations];
    const rows = [
      {
        id: "replica_obeys_p99_ms",
        value: percentilesOf(all.map(({ obeyed }) => obeyed)).p99,
        unit: "ms",
        target: 50,
        better: /** @type {const} */ ("<="),
        absolute: {
          changes: all.length,
          batches_meanwhile: batches.reduce((sum, each) => sum + each, 0),
          visibility: percentilesOf(visibility.map(({ obeyed }) => obeyed)),
          deletes: percentilesOf(deletes.map(({ obeyed }) => obeyed)),
          revocations: percentilesOf(revocations.map(({ obeyed }) => obeyed)),
          write_included: percentilesOf(all.map(({ sinceSent }) => sinceSent)),
        },
      },
      {
        id: "revoked_token_obeys_p99_ms",
        value: percentilesOf(revokedTokens.map(({ obeyed }) => obeyed)).p99,
        unit: "ms",
        target: 50,
        better: /** @type {const} */ ("<="),
        absolute: {
          revocations: revokedTokens.length,
          obeyed: percentilesOf(revokedTokens.map(({ obeyed }) => obeyed)),
          write_included: percentilesOf(revokedTokens.map(({ sinceSent }) => sinceSent)),
        },
      },
    ];
    return rows.filter(({ id }) => wanted.has(id));
  },
};

/** @param {readonly number[]} times */
const percentilesOf = (times) => ({
  p50: round(percentile(times, 0.5), 2),
  p99: round(percentile(times, 0.99), 2),
  max: round(Math.max(...times), 2),
});

/**
 * Warm batches from a generator of its own, until told to stop.
 * @param {import("../bench.mjs").Bench} bench @param {number} port
 * @returns {Promise<() => Promise<number>>} Stops; resolves to how many there were.
 */
async function keepUnderLoad({ fixture }, port) {
  const { load, stop } = await startGenerator();
  const ids = fixture.datasets.map(({ id }) => id);
  const requests = [batchRequest("json", ids, { "x-api-key": fixture.apiKey })];
  let stopped = false;
  const done = (async () => {
    let calls = 0;
    while (!stopped) {
      calls += (await load({ port, requests, seconds: 1, callsPerSecond: BATCHES_PER_SECOND })).calls;
    }
    return calls;
  })().finally(stop);
  // Whoever stops it hears of its failure.
  done.catch(() => {});
  return () => {
    stopped = true;
    return done;
  };
}
