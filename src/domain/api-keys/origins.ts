import { isIP } from "node:net";
import { invalid } from "../errors.js";
import { parseUrl } from "../url.js";

/** What a request says about the page that it comes from. An empty header counts as absent. */
export interface RequestSource {
  /** The Origin header. */
  readonly origin?: string | undefined;
  /** The Referer header. It counts only when there is no Origin. */
  readonly referer?: string | undefined;
}

/** A compiled pattern. Hosts are in the form in which WHATWG URL returns them. */
type OriginRule =
  | { readonly match: "unknown" }
  | { readonly match: "host"; readonly host: string; readonly port: string | undefined }
  /** `suffix` is the host with a dot in front. */
  | { readonly match: "subdomains"; readonly suffix: string; readonly port: string | undefined };

/** The list of rules is the same array as long as the key is, and parsing 50 URLs a request would show. */
const compiled = new WeakMap<readonly string[], readonly OriginRule[]>();

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };
const HOST_AND_PORT = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::([1-9]\d{0,4}))?$/i;

/**
 * Checks the patterns of a key that is about to be written. docs/origins.md tells what they mean.
 * @throws DomainError invalid_argument naming the first pattern at fault, as `origins[3]`.
 */
export function requireValidOrigins(patterns: readonly string[]): void {
  for (const [index, pattern] of patterns.entries()) {
    const rule = parsePattern(pattern);
    if (typeof rule === "string") throw invalid(`origins[${index}]`, rule);
  }
}

/** Whether a key with these patterns may be used by a request from `source`. No pattern allows everything. */
export function originAllowed(patterns: readonly string[], source: RequestSource): boolean {
  if (patterns.length === 0) return true;
  const rules = rulesOf(patterns);
  const page = pageOf(source);
  if (page === undefined) return rules.some(({ match }) => match === "unknown");
  return rules.some((rule) => matches(rule, page));
}

interface PageAddress {
  readonly host: string;
  /** Undefined when the scheme has no port of its own and none is given. */
  readonly port: string | undefined;
}

/** The page that a request comes from, or undefined if that is unknown: missing, `null` or unparsable. */
function pageOf({ origin, referer }: RequestSource): PageAddress | undefined {
  const sent = origin || referer;
  // Several Origin headers arrive joined by commas. No browser sends two, so no one of them can be believed.
  if (!sent || (origin?.includes(",") ?? false)) return undefined;
  const url = parseUrl(sent);
  if (url === undefined || url.hostname === "") return undefined;
  // Only for http and https does WHATWG URL itself put the host into lower case.
  return { host: url.hostname.toLowerCase(), port: url.port || DEFAULT_PORTS[url.protocol] };
}

function matches(rule: OriginRule, { host, port }: PageAddress): boolean {
  if (rule.match === "unknown") return false;
  if (rule.port !== undefined && rule.port !== port) return false;
  if (rule.match === "host") return host === rule.host;
  return host.endsWith(rule.suffix) && host.length > rule.suffix.length;
}

function rulesOf(patterns: readonly string[]): readonly OriginRule[] {
  let rules = compiled.get(patterns);
  if (rules === undefined) {
    // A stored pattern that no longer parses matches nothing: the key stays restricted.
    rules = patterns.map(parsePattern).filter((rule) => typeof rule !== "string");
    compiled.set(patterns, rules);
  }
  return rules;
}

/** The compiled pattern, or what is wrong with it. */
function parsePattern(pattern: string): OriginRule | string {
  if (pattern === "?") return { match: "unknown" };
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(pattern)) {
    return "must be a host without a scheme, such as example.com";
  }
  const wildcard = pattern.startsWith("*.");
  const rest = wildcard ? pattern.slice(2) : pattern;
  if (rest.includes("*")) return "may have a wildcard only as its first label, such as *.example.com";
  if (/[\s\\/@#?%,]/.test(rest)) return "must be a host, with a port if need be, and nothing else";
  const [, name, port] = HOST_AND_PORT.exec(rest) ?? [];
  if (name === undefined || Number(port ?? 1) > 65_535) return "must be a host, or a host and a port";
  const host = parseUrl(`http://${name}/`)?.hostname;
  // A host may end in the dot of the root, but no other label is empty.
  if (host === undefined || /^\.|\.\./.test(host)) return "is not a host name";
  if (!wildcard) return { match: "host", host, port };
  if (isIP(host) !== 0 || host.startsWith("[")) return "can't have a wildcard before an IP address";
  // `*.com` would hand the key to whoever buys a domain. Nobody can buy one below localhost.
  if (!/\../.test(host) && host !== "localhost") return "can't have a wildcard before a single label";
  return { match: "subdomains", suffix: `.${host}`, port };
}
