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
  /**
   * What to do with it: serve it; refuse it, because there is no room; or disconnect its client, because there is none
   * and a flood of others is being refused already. Until it is over it may count as waiting, whatever was done.
   */
  readonly verdict: "serve" | "refuse" | "disconnect";
  /** To be called when it is over. */
  readonly ended: () => void;
}

export interface Calls {
  begin(call: Call): OpenCall;
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
  isCancelled: boolean;
}

/**
 * At most so many calls begin between two looks. A look takes about 0.2 µs for each open call: at 10,000 calls a second,
 * of which 50 are open, 0.04 % of a core. What so many calls hold must be no burden: 256 × 30 kB are 8 MB.
 */
const CALLS_BETWEEN_LOOKS = 256;

/**
 * So many may be refused between two looks, and so many on one connection beyond that: they are a flood then. It comes as
 * 100 streams on each connection in one turn of the event loop, and Node frees no refused stream before the next. Honest
 * clients, whose calls have come while the process could not read, are spread over more connections.
 */
const REFUSALS_BETWEEN_LOOKS = 1_000;
const REFUSALS_ON_CONNECTION = 25;

/**
 * How much of the room that is left one connection may fill, beyond its first calls: many connections of one flood so never
 * take all of it, and who comes with a call or two finds a place.
 */
const SHARE_OF_ROOM = 1 / 2;
const FIRST_CALLS = 2;

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
  /** How many of them on which connection. */
  const refusedOn = new Map<object, number>();
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
    refusedOn.clear();
    const nowMs = performance.now();
    let waitingBytes = 0;
    for (const entry of open) {
      const { call } = entry;
      if (call.isGone()) entry.ended();
      // A reset is not sent, either, where the client reads nothing at all.
      else if (entry.isCancelled) call.disconnect();
      else if (isLate(entry, nowMs)) cancel(entry, "late");
      else if (isWaiting(entry)) {
        waiting.add(entry);
        waitingBytes += call.answer.writableLength;
      } else waiting.delete(entry);
    }
    for (const entry of waiting) {
      if (waiting.size <= limits.maxWaitingCalls && waitingBytes <= limits.maxWaitingBytes) break;
      waitingBytes -= entry.call.answer.writableLength;
      cancel(entry, "crowded");
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

  function cancel(entry: Entry, reason: "late" | "crowded") {
    entry.isCancelled = true;
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

  function refuse({ connection }: Call): "refuse" | "disconnect" {
    const onConnection = (refusedOn.get(connection) ?? 0) + 1;
    refusedOn.set(connection, onConnection);
    refusedSinceLook += 1;
    const isFlood = refusedSinceLook > REFUSALS_BETWEEN_LOOKS && onConnection > REFUSALS_ON_CONNECTION;
    return isFlood ? "disconnect" : "refuse";
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
        verdict: isAdmitted ? "serve" : refuse(call),
        beganMs: performance.now(),
        dueSinceMs: undefined,
        unreadSinceMs: undefined,
        isCancelled: false,
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
      }
      begunSinceLook += 1;
      if (begunSinceLook >= CALLS_BETWEEN_LOOKS) void lookSoon();
      return entry;
    },
    look,
  };
}

const pathOf = (url: string): string => url.split("?", 1)[0] ?? "";

/** For its client: to send the rest of the request, or to read the answer. */
function isWaiting(entry: Entry): boolean {
  return entry.dueSinceMs === undefined || isUnread(entry);
}

function isUnread({ call: { answer } }: Entry): boolean {
  return answer.writableEnded || answer.writableLength > 0;
}
