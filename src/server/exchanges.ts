import type { OpenExchange } from "./http-handler.js";
import type { CallClass, ServerLimits } from "./limits.js";
import { receivedIsRead } from "./received.js";

/** A connection, as what it carries counts. */
export interface Connection {
  /** Its exchanges that there was room for. */
  admitted: number;
  /** Whether its client has ever taken a whole answer that was no refusal. */
  hasRead: boolean;
}

/**
 * One request and its answer, from the end of the request's headers to the end of the answer; as their protocol sees them.
 * A class, because each call makes one: methods that are shared cost nothing.
 */
export abstract class Exchange implements OpenExchange {
  /** Whether there was room for it. Otherwise it has to be refused; until that is sent it counts as waiting. */
  isAdmitted = false;
  callClass: CallClass | undefined;
  /** Where it stands among the open ones; undefined before and after. */
  place: number | undefined;
  readonly beganMs = performance.now();
  listener: OpenExchange["listener"];
  /** Since when its answer is due, and since when what was written of it is unread, as far as looks have noticed. */
  dueSinceMs: number | undefined;
  unreadSinceMs: number | undefined;
  /** How many looks in a row have found it waiting for its client. */
  looksWaited = 0;
  /** When it was ended, though its end has not been sent yet. */
  cancelledMs: number | undefined;

  protected constructor(
    readonly connection: Connection,
    /** The request's target, with its query. */
    readonly url: string,
    /** How long the request may take to arrive. Infinity where the protocol's parser sees to it. */
    readonly requestTimeoutMs: number,
  ) {}

  /** Where the answer is written. */
  abstract readonly answer: { readonly writableEnded: boolean; readonly writableLength: number };
  isAnswered(): boolean {
    return this.answer.writableEnded;
  }
  /** Whether the whole request has been received, read or not. */
  abstract hasArrived(): boolean;
  /** Whether its client has ended its side of the connection, and so opens no window any more. */
  abstract hasLeft(): boolean;
  /** Whether its connection is gone, which Node does not tell every exchange. */
  abstract isGone(): boolean;
  /** Ends it without what has not been sent yet: it took too long, or too many wait with it. */
  abstract cancel(reason: "late" | "crowded"): void;
  /** Ends its connection. */
  abstract disconnect(): void;
  /** Told once, when it is over. */
  abstract ended(): void;
}

export interface Exchanges {
  /** @returns Whether there is room for it. */
  begin(exchange: Exchange): boolean;
  /** To be called when it is over; a second time has no effect. */
  end(exchange: Exchange): void;
  /** Those that have begun and not ended. */
  readonly open: readonly Exchange[];
  /** Whether so many are being refused that even refusals cost too much. */
  isFlooded(): boolean;
  /** Ends those that are over time, and those that too many wait with. To be called regularly. */
  look(): void;
}

export interface ExchangesOptions {
  readonly limits: ServerLimits;
  /** By path, without query. */
  readonly classes: ReadonlyMap<string, CallClass>;
}

/**
 * At most so many calls begin between two looks. A look takes about 0.2 µs for each open call: at 10,000 calls a second,
 * of which 50 are open, 0.04 % of a core. What so many calls hold must be no burden: 256 × 30 kB are 8 MB.
 */
const BEGUN_BETWEEN_LOOKS = 256;

/**
 * So many refusals between two looks are a flood. It comes as 100 streams on each connection in one turn of the event
 * loop, and Node frees no refused stream before the next.
 */
const REFUSALS_OF_A_FLOOD = 500;

/**
 * Clients that are only busy, or half a world away, read their answers sooner. In turns of the event loop as well: where
 * one takes long, clients have had no time yet.
 */
const PATIENCE_MS = 250;
const PATIENCE_LOOKS = 4;

/**
 * This part of the room is for clients that have read an answer before: those of a flood have not. With less room than it there is
 * no time for patience, either: others are being refused.
 */
const KEPT_FREE = 1 / 10;

/**
 * How much of the room that is left one connection may fill, beyond its first calls: many connections of one flood so never
 * take all of it, and who comes with a call or two finds a place.
 */
const SHARE_OF_ROOM = 1 / 2;
const FIRST_CALLS = 2;

/** For a reset to leave. */
const RESET_TIMEOUT_MS = 1_000;

/** For what a client that has ended its side still reads. What waits for a window will never be sent. */
const LEFT_TIMEOUT_MS = 2_000;

/**
 * All open exchanges of this process, of either protocol. They have no timers and report nothing while they run: looks find
 * those that wait for their clients, once in a while and after so many new calls.
 */
export function createExchanges({ limits, classes }: ExchangesOptions): Exchanges {
  // No Set: the tables that it outgrows keep what they held, and each other, until the next full collection. Those that pass through
  // side by side, over HTTP/2, so cost a twentieth more.
  const open: Exchange[] = [];
  const classed = new Map<CallClass, Set<Exchange>>();
  for (const callClass of classes.values()) classed.set(callClass, new Set());
  /** Those that waited for their clients at the last look, the longest first. */
  const waiting = new Set<Exchange>();
  let admitted = 0;
  let begunSinceLook = 0;
  let refusedSinceLook = 0;
  let willLook = false;

  async function lookSoon() {
    if (willLook) return;
    willLook = true;
    // An answer that is still there after everything was sent that could be waits for its client.
    await receivedIsRead();
    willLook = false;
    look();
  }

  function look() {
    begunSinceLook = 0;
    refusedSinceLook = 0;
    const nowMs = performance.now();
    let waitingBytes = 0;
    for (const exchange of [...open]) {
      if (exchange.isGone()) end(exchange);
      else if (exchange.cancelledMs !== undefined) {
        // A reset is not sent, either, where the client reads nothing at all.
        if (nowMs - exchange.cancelledMs >= RESET_TIMEOUT_MS) exchange.disconnect();
      } else if (isLate(exchange, nowMs)) cancel(exchange, "late", nowMs);
      else if (isWaiting(exchange)) {
        waiting.add(exchange);
        exchange.looksWaited += 1;
        waitingBytes += exchange.answer.writableLength;
      } else {
        waiting.delete(exchange);
        exchange.looksWaited = 0;
      }
    }
    const patienceMs = admitted < limits.maxCalls * (1 - KEPT_FREE) ? PATIENCE_MS : 0;
    for (const exchange of waiting) {
      const areTooMany = waiting.size > limits.maxWaitingCalls && hasWaitedLong(exchange, nowMs, patienceMs);
      if (!areTooMany && waitingBytes <= limits.maxWaitingBytes) break;
      waitingBytes -= exchange.answer.writableLength;
      cancel(exchange, "crowded", nowMs);
    }
  }

  function isLate(exchange: Exchange, nowMs: number): boolean {
    if (exchange.dueSinceMs === undefined) {
      if (!exchange.hasArrived()) return nowMs - exchange.beganMs >= exchange.requestTimeoutMs;
      exchange.dueSinceMs = nowMs;
    }
    exchange.unreadSinceMs = isUnread(exchange) ? (exchange.unreadSinceMs ?? nowMs) : undefined;
    const isEndless = exchange.callClass?.isEndless ?? false;
    const unreadMs = nowMs - (exchange.unreadSinceMs ?? nowMs);
    if (exchange.hasLeft() && (isEndless || unreadMs >= LEFT_TIMEOUT_MS)) return true;
    return (isEndless ? unreadMs : nowMs - exchange.dueSinceMs) >= limits.answerTimeoutMs;
  }

  function cancel(exchange: Exchange, reason: "late" | "crowded", nowMs: number) {
    exchange.cancelledMs = nowMs;
    waiting.delete(exchange);
    exchange.cancel(reason);
  }

  function hasRoomFor({ connection, callClass }: Exchange): boolean {
    const left = limits.maxCalls - admitted;
    const kept = connection.hasRead ? 0 : limits.maxCalls * KEPT_FREE;
    if (left <= kept || connection.admitted >= Math.max(FIRST_CALLS, left * SHARE_OF_ROOM)) return false;
    return callClass === undefined || hasRoomInClass(connection, callClass);
  }

  function hasRoomInClass(connection: Connection, callClass: CallClass): boolean {
    const siblings = classed.get(callClass);
    if (siblings === undefined || siblings.size >= callClass.maxCalls) return false;
    let onConnection = 0;
    for (const sibling of siblings) if (sibling.connection === connection) onConnection += 1;
    return onConnection < callClass.maxCallsPerConnection;
  }

  /** @returns Whether it was one of the open ones. */
  function remove(exchange: Exchange): boolean {
    const { place } = exchange;
    const last = open.at(-1);
    if (place === undefined || last === undefined) return false;
    open[place] = last;
    last.place = place;
    open.pop();
    exchange.place = undefined;
    return true;
  }

  function end(exchange: Exchange) {
    if (!remove(exchange)) return;
    waiting.delete(exchange);
    if (exchange.isAdmitted) {
      admitted -= 1;
      exchange.connection.admitted -= 1;
      if (exchange.callClass) classed.get(exchange.callClass)?.delete(exchange);
    }
    exchange.ended();
    exchange.listener?.end();
  }

  return {
    begin(exchange) {
      exchange.callClass = classes.get(pathOf(exchange.url));
      exchange.isAdmitted = hasRoomFor(exchange);
      exchange.place = open.push(exchange) - 1;
      if (exchange.isAdmitted) {
        admitted += 1;
        exchange.connection.admitted += 1;
        if (exchange.callClass) classed.get(exchange.callClass)?.add(exchange);
      } else {
        refusedSinceLook += 1;
      }
      begunSinceLook += 1;
      if (begunSinceLook >= BEGUN_BETWEEN_LOOKS || !exchange.isAdmitted) void lookSoon();
      return exchange.isAdmitted;
    },
    end,
    open,
    isFlooded: () => refusedSinceLook > REFUSALS_OF_A_FLOOD,
    look,
  };
}

function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
}

/** For its client: to send the rest of the request, or to read the answer. */
function isWaiting(exchange: Exchange): boolean {
  return exchange.dueSinceMs === undefined || isUnread(exchange);
}

function hasWaitedLong(exchange: Exchange, nowMs: number, patienceMs: number): boolean {
  const { looksWaited, unreadSinceMs, beganMs } = exchange;
  return looksWaited >= PATIENCE_LOOKS && nowMs - (unreadSinceMs ?? beganMs) >= patienceMs;
}

function isUnread({ answer }: Exchange): boolean {
  return answer.writableEnded || answer.writableLength > 0;
}
