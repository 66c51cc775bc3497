import { BlockList, isIPv4, isIPv6 } from "node:net";

interface IpRange {
  readonly address: string;
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

/** Some addresses, IPv4 and IPv6. */
export interface IpRanges {
  /** @param address In the form of `canonicalIp`. */
  has(address: string): boolean;
}

const IPV4_BITS = 32;
const IPV6_BITS = 128;

/** How an IPv6 address begins that stands for an IPv4 one (RFC 4291, 2.5.5.2). */
const MAPPED_BITS = IPV6_BITS - IPV4_BITS;

/**
 * One text for one address, so that texts can be compared: of IPv6 the one that WHATWG URL writes, of an IPv4 address in IPv6's form
 * the IPv4 address. Undefined for what is no address; an address with a zone is none.
 */
export function canonicalIp(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [, high = "", low = ""] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical) ?? [];
  if (high === "") return canonical;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join(".");
}

/** Whether `text` is an address or a range in CIDR form (RFC 4632, RFC 4291): `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`. */
export const isIpRange = (text: string): boolean => parseIpRange(text) !== undefined;

/** @param ranges Each an IP range. Of an address within one, the bits after its prefix don't count. */
export function createIpRanges(ranges: readonly string[]): IpRanges {
  const list = new BlockList();
  for (const text of ranges) {
    const range = parseIpRange(text);
    if (range === undefined) throw new RangeError("not an IP range");
    list.addSubnet(range.address, range.prefix, range.family);
  }
  return { has: (address) => list.check(address, isIPv4(address) ? "ipv4" : "ipv6") };
}

function parseIpRange(text: string): IpRange | undefined {
  const [written = "", bits, ...rest] = text.split("/");
  const address = canonicalIp(written);
  if (address === undefined || rest.length > 0) return undefined;
  if (bits !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(bits)) return undefined;
  if (!isIPv4(address)) {
    const prefix = Number(bits ?? IPV6_BITS);
    return prefix <= IPV6_BITS ? { address, prefix, family: "ipv6" } : undefined;
  }
  // Written in IPv6's form, its prefix counts the bits of that.
  const before = isIPv4(written) ? 0 : MAPPED_BITS;
  const prefix = Number(bits ?? before + IPV4_BITS) - before;
  return prefix >= 0 && prefix <= IPV4_BITS ? { address, prefix, family: "ipv4" } : undefined;
}
