import { checkBatch, checkRest, checkVerdict } from "../answers.mjs";
import { compare, ratioRow } from "../compare.mjs";
import { batchRequest, restRequest, verifyRequest } from "../requests.mjs";

/**
 * Every row of these is one contestant's rate against its yardstick's, by round. `yardstick` undefined: the rate itself.
 * @type {readonly { id: string, of: string, yardstick?: string, target?: number }[]}
 */
const ROWS = [
  { id: "json_vs_bare", of: "tilegate json key", yardstick: "bare json", target: 4 },
  { id: "json_vs_constant", of: "tilegate json key", yardstick: "constant http1", target: 0.5 },
  { id: "json_anonymous_vs_bare", of: "tilegate json anonymous", yardstick: "bare json" },
  { id: "json_jwt_vs_bare", of: "tilegate json jwt", yardstick: "bare json" },
  { id: "json_distinct_vs_bare", of: "tilegate json distinct", yardstick: "bare json", target: 5 },
  { id: "binary_vs_bare", of: "tilegate binary key", yardstick: "bare binary" },
  { id: "binary_anonymous_vs_bare", of: "tilegate binary anonymous", yardstick: "bare binary" },
  { id: "binary_jwt_vs_bare", of: "tilegate binary jwt", yardstick: "bare binary" },
  { id: "grpc_vs_bare", of: "tilegate grpc key", yardstick: "bare grpc", target: 4 },
  { id: "grpc_vs_constant", of: "tilegate grpc key", yardstick: "constant grpc", target: 0.75 },
  { id: "grpc_distinct_vs_bare", of: "tilegate grpc distinct", yardstick: "bare grpc", target: 4.5 },
  { id: "grpc_anonymous_vs_bare", of: "tilegate grpc anonymous", yardstick: "bare grpc" },
  { id: "grpc_jwt_vs_bare", of: "tilegate grpc jwt", yardstick: "bare grpc" },
  { id: "rest_vs_handwritten", of: "tilegate rest key", yardstick: "handwritten", target: 1.2 },
  { id: "rest_anonymous_vs_handwritten", of: "tilegate rest anonymous", yardstick: "handwritten" },
  { id: "rest_distinct_vs_handwritten", of: "tilegate rest distinct", yardstick: "handwritten" },
  { id: "verify_vs_unary", of: "tilegate verify", yardstick: "bare verify", target: 0.85 },
  { id: "verify_dataset_vs_unary", of: "tilegate verify dataset", yardstick: "bare verify", target: 0.85 },
  // Of different batches: an answer that is remembered needs neither.
  { id: "redis_vs_process", of: "redis-only", yardstick: "tilegate json distinct anonymous", target: 0.5 },
  { id: "redis_new_vs_process", of: "redis-only --forgetful", yardstick: "tilegate json distinct anonymous" },
];

/** @type {import("../run.mjs").RowGroup} */
export const throughput = {
  ids: ROWS.map(({ id }) => id),
  async run(bench, wanted, effort) {
    /** @type {import("../report.mjs").Row[]} */
    const rows = [];
    const all = contestants(bench.fixture);
    // Rows with a common contestant are measured together.
    for (const group of groups(ROWS.filter(({ id }) => wanted.has(id)))) {
      const names = new Set(group.flatMap(({ of, yardstick }) => [of, ...(yardstick ? [yardstick] : [])]));
      const measured = await compare(
        bench,
        all.filter(({ name }) => names.has(name)),
        effort,
      );
      for (const { id, of, yardstick = "", target } of group) {
        rows.push(ratioRow({ id, target }, [of, measured.get(of)], [yardstick, measured.get(yardstick)]));
      }
    }
    return rows;
  },
};

/** The same batch in more than ten times as many orders as the service has room for their answers. @param {readonly string[]} ids */
const shuffles = (ids) =>
  Array.from({ length: 5_000 }, (_, seed) =>
    ids
      .map((id, index) => ({ id, rank: Math.imul(index + 1, 2 * seed + 1) ^ Math.imul(seed, 2_654_435_761) }))
      .toSorted((a, b) => (a.rank % 10_007) - (b.rank % 10_007))
      .map(({ id }) => id),
  );

/** By the first word after the server's name. @param {readonly (typeof ROWS)[number][]} rows */
function groups(rows) {
  /** @type {Map<string, (typeof ROWS)[number][]>} */
  const byPrefix = new Map();
  for (const row of rows) {
    const prefix = row.id.split("_")[0] ?? "";
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), row]);
  }
  return byPrefix.values();
}

/** @param {import("../fixture.mjs").Fixture} fixture @returns {import("../compare.mjs").Contestant[]} */
function contestants({ datasets, apiKey, jwt, serviceToken }) {
  const ids = datasets.map(({ id }) => id);
  const key = { "x-api-key": apiKey };
  const credentials = { key, anonymous: {}, jwt: { authorization: `Bearer ${jwt}` } };
  const batches = /** @type {const} */ (["json", "binary", "grpc"]).flatMap((protocol) => {
    const check = checkBatch(protocol, datasets);
    const bare = {
      name: `bare ${protocol}`,
      server: "bare-connect",
      requests: [batchRequest(protocol, ids, key)],
      check,
    };
    const own = Object.entries(credentials).map(([name, credential]) => ({
      name: `tilegate ${protocol} ${name}`,
      server: "tilegate",
      requests: [batchRequest(protocol, ids, credential)],
      check,
    }));
    const distinct = {
      name: `tilegate ${protocol} distinct`,
      server: "tilegate",
      requests: shuffles(ids).map((shuffled) => batchRequest(protocol, shuffled, key)),
      check,
    };
    return [...own, distinct, bare];
  });
  const rest = { requests: [restRequest(ids, key)], check: checkRest(datasets) };
  const backend = { authorization: `Bearer ${serviceToken}` };
  const verify = { requests: [verifyRequest(apiKey, backend)], check: checkVerdict };
  const verifyDataset = { requests: [verifyRequest(apiKey, backend, ids[0])], check: checkVerdict };
  const anonymous = {
    requests: shuffles(ids).map((shuffled) => batchRequest("json", shuffled, {})),
    check: checkBatch("json", datasets),
  };
  return [
    ...batches,
    ...["redis-only", "redis-only --forgetful"].map((name) => ({ ...anonymous, name, server: name })),
    { ...anonymous, name: "tilegate json distinct anonymous", server: "tilegate" },
    { name: "constant http1", server: "constant-http1", requests: [batchRequest("json", ids, key)] },
    { name: "constant grpc", server: "constant-grpc", requests: [batchRequest("grpc", ids, key)] },
    { ...rest, name: "tilegate rest key", server: "tilegate" },
    { ...rest, name: "tilegate rest anonymous", server: "tilegate", requests: [restRequest(ids, {})] },
    {
      ...rest,
      name: "tilegate rest distinct",
      server: "tilegate",
      requests: shuffles(ids).map((shuffled) => restRequest(shuffled, key)),
    },
    { ...rest, name: "handwritten", server: "handwritten" },
    { ...verify, name: "tilegate verify", server: "tilegate" },
    { ...verifyDataset, name: "tilegate verify dataset", server: "tilegate" },
    { ...verify, name: "bare verify", server: "bare-connect" },
  ];
}
