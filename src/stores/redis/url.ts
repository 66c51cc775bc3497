/** Where Redis is, from REDIS_URL. */
export interface RedisTarget {
  readonly topology: "standalone" | "sentinel" | "cluster";
  /** The server; or sentinels, or some of the cluster's nodes: one that answers leads to the others. */
  readonly nodes: readonly RedisAddress[];
  /** What the sentinels call the servers to use. Only with them. */
  readonly masterName: string;
  readonly db: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Of the sentinels themselves. */
  readonly sentinelPassword: string | undefined;
}

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

const PATTERN =
  /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/;

/**
 * `redis://[user:password@]host[:port][/db]`, `redis+sentinel://[user:password@]host[:port],…/master-name[/db]` with
 * `?sentinel_password=…`, `redis+cluster://[user:password@]host[:port],…`; and `rediss…` with TLS. Undefined for
 * anything else.
 */
export function parseRedisUrl(text: string): RedisTarget | undefined {
  const match = PATTERN.exec(text);
  if (match === null) return undefined;
  const [, scheme, topology = "standalone", credentials = "", hosts = "", path = "", query] = match;
  const defaultPort = topology === "sentinel" ? 26_379 : 6_379;
  const nodes = hosts.split(",").map((host) => parseAddress(host, defaultPort));
  const [first, second, ...rest] = path.split("/");
  const [masterName, db] = topology === "sentinel" ? [first, second] : ["", first];
  const excess = topology === "sentinel" ? rest.length > 0 : second !== undefined;
  const isComplete =
    nodes.every((node) => node !== undefined) &&
    !excess &&
    /^\d*$/.test(db ?? "") &&
    (topology === "standalone" ? nodes.length === 1 : true) &&
    (topology === "sentinel") === (masterName !== "") &&
    (topology === "cluster" ? path === "" : true);
  const parameters = new URLSearchParams(query);
  const isKnown = [...parameters.keys()].every(
    (name) => topology === "sentinel" && name === "sentinel_password",
  );
  const [username, password] = credentials.split(":").map(decode);
  if (!isComplete || !isKnown || username === null || password === null) return undefined;
  return {
    topology: topology as RedisTarget["topology"],
    nodes: nodes.filter((node) => node !== undefined),
    masterName: decode(masterName ?? "") ?? "",
    db: Number(db ?? 0),
    tls: scheme === "rediss",
    username: username || undefined,
    password: password || undefined,
    sentinelPassword: parameters.get("sentinel_password") ?? undefined,
  };
}

function parseAddress(text: string, defaultPort: number): RedisAddress | undefined {
  if (!URL.canParse(`redis://${text}`)) return undefined;
  const { hostname, port } = new URL(`redis://${text}`);
  if (hostname === "") return undefined;
  // Brackets belong to the URL, not to an IPv6 address.
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? defaultPort : Number(port) };
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
