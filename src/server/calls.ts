import type { CallClass, ServerLimits } from "./limits.js";
import { receivedIsRead } from "./received.js";

/** One request and its answer, as their protocol sees them. */
export interface Call {
  /** What tells connections apart. */
  readonly connection: object;
  /** The request's target, with its query. */
  readonly url: string;
  /** How long the request may take to arrive. Infinity where the protocol's parser sees to it. */
  readonly requestTimeoutMs: number;
  /** Where the answer is written. */
  readonly answer: { readonly writableEnded: boolean; readonly writableLength: number };
  /** Whether the whole request has been received, read or not. */
  hasArrived(): boolean;
  /** Whether its client has ended its side of the connection, and so opens no window any more. */
  hasLeft(): boolean;
  /** Whether its connection is gone, which Node does not tell every call. */
  isGone(): boolean;
  /** Ends it without what has not been sent yet: it took too long, or too many wait with it. */
  cancel(reason: "late" | "crowded"): void;
  /** Ends its connection. */
  disconnect(): void;
  /** Told once, when it is over. */
  ended(): void;
}

/** A call from the end of its headers to the end of its answer. */
export interface OpenCall {
  /** Whether there was room for it. Otherwise it has to be refused; until that is sent it counts as waiting. */
  readonly isAdmitted: boolean;
  /** To be called when it is over. */
  readonly ended: () => void;
}

export interface Calls {
  begin(call: Call): OpenCall;
  /** Whether so many are being refused that even refusals cost too much. */
  isFlooded(): boolean;
  /** Ends the calls that are over time, and those that too many wait with. To be called regularly. */
  look(): void;
}

export interface CallsOptions {
  readonly limits: ServerLimits;
  /** By path, without query. */
  readonly classes: ReadonlyMap<string, CallClass>;
}

interface Entry extends OpenCall {
  readonly call: Call;
  readonly isEndless: boolean;
  readonly beganMs: number;
  /** Since when its answer is due, and since when what was written of it is unread, as far as looks have noticed. */
  dueSinceMs: number | undefined;
  unreadSinceMs: number | undefined;
  /** How many looks in a row have found it waiting for its client. */
  looksWaited: number;
  /** When it was ended, though its end has not been sent yet. */
  cancelledMs: number | undefined;
}

/**
 * At most so many calls begin between two looks. A look takes about 0.2 µs for each open call: at 10,000 calls a second,
 * of which 50 are open, 0.04 % of a core. What so many calls hold must be no burden: 256 × 30 kB are 8 MB.
 */
const CALLS_BETWEEN_LOOKS = 256;

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

/** With less room than this part there is no time for patience: others are being refused. */
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
 * All open calls of this process, of either protocol. They have no timers and report nothing while they run: looks find
 * those that wait for their clients, once in a while and after so many new calls.
 */
export function createCalls({ limits, classes }: CallsOptions): Calls {
  const open = new Set<Entry>();
  const classed = new Map<CallClass, Set<Entry>>();
  for (const callClass of classes.values()) classed.set(callClass, new Set());
  /** Those that waited for their clients at the last look, the longest first. */
  const waiting = new Set<Entry>();
  const admittedOn = new Map<object, number>();
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
    for (const entry of open) {
      const { call } = entry;
      if (call.isGone()) entry.ended();
      else if (entry.cancelledMs !== undefined) {
        // A reset is not sent, either, where the client reads nothing at all.
        if (nowMs - entry.cancelledMs >= RESET_TIMEOUT_MS) call.disconnect();
      } else if (isLate(entry, nowMs)) cancel(entry, "late", nowMs);
      else if (isWaiting(entry)) {
        waiting.add(entry);
        entry.looksWaited += 1;
        waitingBytes += call.answer.writableLength;
      } else {
        waiting.delete(entry);
        entry.looksWaited = 0;
      }
    }
    const patienceMs = admitted < limits.maxCalls * (1 - KEPT_FREE) ? PATIENCE_MS : 0;
    for (const entry of waiting) {
      const areTooMany = waiting.size > limits.maxWaitingCalls && hasWaitedLong(entry, nowMs, patienceMs);
      if (!areTooMany && waitingBytes <= limits.maxWaitingBytes) break;
      waitingBytes -= entry.call.answer.writableLength;
      cancel(entry, "crowded", nowMs);
    }
  }

  function isLate(entry: Entry, nowMs: number): boolean {
    const { call, isEndless } = entry;
    if (entry.dueSinceMs === undefined) {
      if (!call.hasArrived()) return nowMs - entry.beganMs >= call.requestTimeoutMs;
      entry.dueSinceMs = nowMs;
    }
    entry.unreadSinceMs = isUnread(entry) ? (entry.unreadSinceMs ?? nowMs) : undefined;
    const unreadMs = nowMs - (entry.unreadSinceMs ?? nowMs);
    if (call.hasLeft() && (isEndless || unreadMs >= LEFT_TIMEOUT_MS)) return true;
    return (isEndless ? unreadMs : nowMs - entry.dueSinceMs) >= limits.answerTimeoutMs;
  }

  function cancel(entry: Entry, reason: "late" | "crowded", nowMs: number) {
    entry.cancelledMs = nowMs;
    waiting.delete(entry);
    entry.call.cancel(reason);
  }

  function hasRoomFor({ connection }: Call): boolean {
    const left = limits.maxCalls - admitted;
    return left > 0 && (admittedOn.get(connection) ?? 0) < Math.max(FIRST_CALLS, left * SHARE_OF_ROOM);
  }

  function count(connection: object, calls: 1 | -1): void {
    admitted += calls;
    const onConnection = (admittedOn.get(connection) ?? 0) + calls;
    if (onConnection === 0) admittedOn.delete(connection);
    else admittedOn.set(connection, onConnection);
  }

  function hasRoomInClass({ connection }: Call, siblings: ReadonlySet<Entry>, callClass: CallClass): boolean {
    if (siblings.size >= callClass.maxCalls) return false;
    let onConnection = 0;
    for (const { call } of siblings) if (call.connection === connection) onConnection += 1;
    return onConnection < callClass.maxCallsPerConnection;
  }

  return {
    begin(call) {
      const callClass = classes.size > 0 ? classes.get(pathOf(call.url)) : undefined;
      const siblings = callClass && classed.get(callClass);
      const isAdmitted =
        hasRoomFor(call) && (!callClass || !siblings || hasRoomInClass(call, siblings, callClass));
      const entry: Entry = {
        call,
        isEndless: callClass?.isEndless ?? false,
        isAdmitted,
        beganMs: performance.now(),
        dueSinceMs: undefined,
        unreadSinceMs: undefined,
        looksWaited: 0,
        cancelledMs: undefined,
        ended() {
          if (!open.delete(entry)) return;
          waiting.delete(entry);
          if (isAdmitted) {
            count(call.connection, -1);
            siblings?.delete(entry);
          }
          call.ended();
        },
      };
      open.add(entry);
      if (isAdmitted) {
        count(call.connection, 1);
        siblings?.add(entry);
      } else {
        refusedSinceLook += 1;
      }
      begunSinceLook += 1;
      if (begunSinceLook >= CALLS_BETWEEN_LOOKS || !isAdmitted) void lookSoon();
      return entry;
    },
    isFlooded: () => refusedSinceLook > REFUSALS_OF_A_FLOOD,
    look,
  };
}

function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
}

/** For its client: to send the rest of the request, or to read the answer. */
function isWaiting(entry: Entry): boolean {
  return entry.dueSinceMs === undefined || isUnread(entry);
}

function hasWaitedLong(entry: Entry, nowMs: number, patienceMs: number): boolean {
  const { looksWaited, unreadSinceMs, beganMs } = entry;
  return looksWaited >= PATIENCE_LOOKS && nowMs - (unreadSinceMs ?? beganMs) >= patienceMs;
}

function isUnread({ call: { answer } }: Entry): boolean {
  return answer.writableEnded || answer.writableLength > 0;
}
