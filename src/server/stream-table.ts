import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { types } from "node:util";

// Node.js keeps a session's streams in a Map, to which every call adds one and from which it takes one. When a Map makes room, V8
// points its outgrown table at the new one, and the table keeps what was in it. One such table that has come to the old heap is taken
// to be alive by every collection of new objects, and with it all its successors and all streams that were in them: from the first
// full collection on, each stream of a connection that lasts outlives its call and comes to the old heap, 2 kB at a time, until the
// next. docs/performance.md has the figures.

type StreamEntry = [id: number, stream: ServerHttp2Stream];

/** A Map that leaves nothing behind. */
export class StreamTable extends Map<number, ServerHttp2Stream> {
  private streams: Record<number, ServerHttp2Stream> = Object.create(null);
  private count = 0;

  override get size() {
    return this.count;
  }
  override get(id: number) {
    return this.streams[id];
  }
  override has(id: number) {
    return id in this.streams;
  }
  override set(id: number, stream: ServerHttp2Stream) {
    if (!(id in this.streams)) this.count += 1;
    this.streams[id] = stream;
    return this;
  }
  override delete(id: number) {
    if (!(id in this.streams)) return false;
    this.count -= 1;
    return delete this.streams[id];
  }
  override clear() {
    this.streams = Object.create(null);
    this.count = 0;
  }
  /** Of those that are there now: Node.js ends them one after the other, which takes them out. */
  override forEach(heard: (stream: ServerHttp2Stream, id: number, all: this) => void) {
    for (const [id, stream] of this) heard(stream, id, this);
  }
  override *entries(): MapIterator<StreamEntry> {
    for (const [id, stream] of Object.entries(this.streams)) yield [Number(id), stream];
  }
  override *keys(): MapIterator<number> {
    for (const [id] of this) yield id;
  }
  override *values(): MapIterator<ServerHttp2Stream> {
    for (const [, stream] of this) yield stream;
  }
  override [Symbol.iterator]() {
    return this.entries();
  }
}

/**
 * Gives a session that has no stream yet a table of them of ours. It is no part of Node.js' interface: where a version has none such,
 * nothing is changed.
 */
export function replaceStreamTable(session: ServerHttp2Session): void {
  const symbols = Object.getOwnPropertySymbols(session);
  const symbol = symbols.find(({ description }) => description === "state");
  const state: unknown = symbol && Reflect.get(session, symbol);
  if (typeof state !== "object" || state === null) return;
  const streams: unknown = Reflect.get(state, "streams");
  if (types.isMap(streams) && streams.size === 0) Reflect.set(state, "streams", new StreamTable());
}
