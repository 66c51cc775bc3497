import { canonicalIp, createIpRanges } from "../domain/ip-ranges.js";
import type { HttpRequest } from "../server/http-handler.js";

/** Who is at the other end, as far as that can be known. */
export interface ClientAddresses {
  /** Whether whoever sent the request is a proxy whose forwarding headers count. */
  isFromProxy(request: HttpRequest): boolean;
  /**
   * The client's address, in the form of `canonicalIp`: the nearest one of the connection and its `X-Forwarded-For` that is none of
   * our proxies. Undefined if that can't be told: no rule about addresses lets it pass.
   */
  of(request: HttpRequest): string | undefined;
}

/** Addresses are few, proxies fewer: these are 1 MB at most. */
const MAX_KNOWN = 10_000;

/** @param trustedProxies IP ranges. */
export function createClientAddresses(trustedProxies: readonly string[]): ClientAddresses {
  const proxies = createIpRanges(trustedProxies);
  const known = new Map<string, boolean>();

  /** @param text An address in any form, as sockets tell them in several. */
  function isProxy(text: string): boolean {
    const before = known.get(text);
    if (before !== undefined) return before;
    if (known.size >= MAX_KNOWN) known.clear();
    const address = canonicalIp(text);
    const is = address !== undefined && proxies.has(address);
    known.set(text, is);
    return is;
  }

  return {
    isFromProxy: (request) => isProxy(peerOf(request)),
    of(request) {
      let address = canonicalIp(peerOf(request));
      // From the last one on: each was added by whom the one after it names.
      const hops = forwardedFor(request);
      while (address !== undefined && hops.length > 0 && isProxy(address))
        address = addressOf(hops.pop() ?? "");
      return address;
    },
  };
}

/** Empty for a connection that is gone. */
const peerOf = ({ socket }: HttpRequest): string => socket.remoteAddress ?? "";

const FORWARDED_FOR = "x-forwarded-for";

/** Of several headers, one after the other: Node.js joins them so. */
function forwardedFor({ headers }: HttpRequest): string[] {
  const value = headers[FORWARDED_FOR];
  return value === undefined ? [] : String(value).split(",");
}

/** Some proxies add the port. */
function addressOf(hop: string): string | undefined {
  const [, bracketed, plain] = /^\s*(?:\[([^\]]*)\](?::\d{1,5})?|([^\s[\]]+))\s*$/.exec(hop) ?? [];
  if (bracketed !== undefined) return canonicalIp(bracketed);
  return plain === undefined ? undefined : canonicalIp(plain.replace(/^([^:]*):\d{1,5}$/, "$1"));
}
