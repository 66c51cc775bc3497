import { ServerResponse } from "node:http";
import type { connectNodeAdapter } from "@connectrpc/connect-node";

type NodeHandler = ReturnType<typeof connectNodeAdapter>;
export type HttpRequest = Parameters<NodeHandler>[0];
export type HttpResponse = Parameters<NodeHandler>[1];

/** A request and its answer, as long as they last. */
export interface OpenExchange {
  /** When the request's headers were there, by performance.now(). */
  readonly beganMs: number;
  /** Whether the whole answer was handed over. */
  isAnswered(): boolean;
  /** Hears once that it is over, answered or not. */
  listener: { end(): void } | undefined;
}

/** Answers requests of either protocol. */
export type HttpHandler = (request: HttpRequest, response: HttpResponse, exchange: OpenExchange) => void;

/** Names and values in turn: over HTTP/1.1, Node.js writes them as they are, which is the fastest that it can. */
export type HeaderList = readonly string[];

export function setHeaders(response: HttpResponse, headers: HeaderList): void {
  for (let index = 0; index < headers.length; index += 2) {
    response.setHeader(headers[index] ?? "", headers[index + 1] ?? "");
  }
}

/** @param headers The response's from now on. */
export function writeHead(response: HttpResponse, status: number, headers: string[]): void {
  if (response instanceof ServerResponse) {
    response.writeHead(status, headers);
  } else {
    setHeaders(response, headers);
    response.writeHead(status);
  }
}

/**
 * Ends the answer with a text of which one character is one byte, or with bytes. Node.js writes what `end` is given over HTTP/1.1 as two
 * pieces, of which the second is empty, and so by the slower of its ways to write: 4 % of a call.
 */
export function endWith(response: HttpResponse, body: string | Buffer): void {
  if (response instanceof ServerResponse) {
    response.write(body, "latin1");
    response.socket?.uncork();
    response.end();
  } else {
    response.end(body, "latin1");
  }
}

/** Most requests name the same host as the one before. */
let lastUsable = "";

/** Whether the request names a host (HTTP/1.0 need not) that parses. Connect's adapter throws if it does not. */
export function hasUsableAuthority(request: HttpRequest): boolean {
  const authority = "authority" in request ? request.authority : request.headers.host;
  if (!authority) return false;
  if (authority === lastUsable) return true;
  try {
    // URL.canParse of Node.js 20 and 22 is not to be had: see domain/url.ts.
    new URL(`http://${authority}`);
  } catch {
    return false;
  }
  lastUsable = authority;
  return true;
}
