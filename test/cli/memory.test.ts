import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { startTilegate } from "../../harness/tilegate.mjs";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import {
  DatasetKind,
  DatasetVisibility,
  PublicationStatus,
} from "../../src/gen/proto/tilegate/v1/dataset_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { createInstallation } from "../harness/installation.js";
import { postgresUrl } from "../harness/postgres.js";
import { redisUrl } from "../harness/redis.js";

const OPERATOR_TOKEN = randomBytes(32).toString("hex");

/** The most that it has had at a time. */
const peakMegabytes = (pid: number): number =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

/** As large as the schema allows, in characters that take two bytes here and six in JSON. */
const readers = () => Array.from({ length: 100 }, () => "я".repeat(58) + randomBytes(6).toString("hex"));
const largest = (isPublic: boolean) => ({
  kind: DatasetKind.RASTER,
  title: "я".repeat(200),
  // What everybody may see is remembered as whole answers too.
  visibility: isPublic ? DatasetVisibility.PUBLIC : DatasetVisibility.RESTRICTED,
  status: PublicationStatus.PUBLISHED,
  owner: "я".repeat(255),
  readerRoles: readers(),
  readerSubjects: readers(),
  raster: { tileUrlTemplate: `/${"я".repeat(1_980)}/{z}/{x}/{y}` },
});

test.skipIf(!postgresUrl() || !redisUrl() || !existsSync("/proc/self/status"))(
  "2,000 of the largest datasets, written by one tenant and asked for over every door, leave room for the others",
  async () => {
    await using installation = await createInstallation();
    await using tilegate = await startTilegate({
      ...installation.env,
      REDIS_URL: redisUrl() ?? "",
      OPERATOR_TOKEN,
      NODE_OPTIONS: "--max-old-space-size=256",
    });
    const clients = (authorization: string, useBinaryFormat: boolean) => {
      const transport = createConnectTransport({
        baseUrl: tilegate.url,
        httpVersion: "1.1",
        useBinaryFormat,
        interceptors: [
          (next) => (request) => {
            request.header.set("authorization", authorization);
            return next(request);
          },
        ],
      });
      return {
        accounts: createClient(AccountService, transport),
        datasets: createClient(DatasetService, transport),
        tokens: createClient(TileTokenService, transport),
      };
    };
    const { accounts } = clients(`Bearer ${OPERATOR_TOKEN}`, true);
    const accountId = (await accounts.createAccount({ name: "acme" })).account?.id ?? "";
    const authorization = `Token ${(await accounts.createServiceToken({ accountId })).token}`;
    const [binary, json] = [clients(authorization, true), clients(authorization, false)];
    for (let batch = 0; batch < 40; batch += 1) {
      const { ids } = await binary.datasets.batchUpsertDatasets({
        datasets: Array.from({ length: 50 }, () => largest(batch % 2 === 0)),
      });
      for (const { tokens } of [binary, json, binary, json])
        await tokens.batchGetTileTokens({ datasetIds: ids });
      const body = JSON.stringify({ dataset_ids: ids });
      for (const path of ["/tiles/tokens/", "/api/tiles/tokens/"]) {
        const answer = await fetch(tilegate.url + path, { method: "POST", headers: { authorization }, body });
        expect(Object.keys(((await answer.json()) as { tokens: object }).tokens)).toHaveLength(50);
      }
    }
    expect(peakMegabytes(tilegate.pid)).toBeLessThan(280);
  },
);
