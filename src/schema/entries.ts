/** How an answer is made of its entries: text of which one character is one byte. */
export interface EntryEncoding<Value> {
  /** How one entry travels. */
  entryOf(id: string, value: Value): string;
  join(entries: readonly string[]): string;
}

/** What stands for the id in the entry of a value that many ids share, which is the same for each but for that. */
const PLACEHOLDER = "00000000-0000-0000-0000-000000000000";

/**
 * Encodes answers entry by entry: an answer is the join of its entries in all formats. An entry is encoded once for as long as its
 * value is there.
 *
 * @param isShared Whether other ids may have this value too.
 */
export function createEntriesEncoder<Value extends object>(
  { entryOf, join }: EntryEncoding<Value>,
  isShared: (value: Value) => boolean,
): (ids: readonly string[], values: readonly Value[]) => string {
  const known = new WeakMap<Value, string>();

  function encode(id: string, value: Value): string {
    const entry = known.get(value);
    if (entry !== undefined && !isShared(value)) return entry;
    return entry?.replace(PLACEHOLDER, id) ?? learn(id, value);
  }

  function learn(id: string, value: Value): string {
    const shared = isShared(value);
    const entry = entryOf(shared ? PLACEHOLDER : id, value);
    known.set(value, entry);
    return shared ? entry.replace(PLACEHOLDER, id) : entry;
  }

  return (ids, values) => join(values.map((value, index) => encode(ids[index] ?? "", value)));
}

const BEFORE = '{"tokens":{';
const AFTER = "}}";

/** @param toJson What stands for a value. */
export const jsonEntries = <Value>(toJson: (value: Value) => unknown): EntryEncoding<Value> => ({
  entryOf: (id, value) => toAscii(`"${id}":${JSON.stringify(toJson(value))}`),
  join(entries) {
    // Into the ends: a text that is put together of three is copied once more when it is sent.
    const ends = [...entries];
    const last = ends.length - 1;
    ends[0] = BEFORE + (ends[0] ?? "");
    ends[last] = `${ends[last]}${AFTER}`;
    return ends.join(",");
  },
});

/** Protobuf's binary format: entries of a map follow each other. @param encode An answer with this entry only. */
export const binaryEntries = <Value>(
  encode: (id: string, value: Value) => Uint8Array,
): EntryEncoding<Value> => ({
  entryOf: (id, value) => toLatin1(encode(id, value)),
  join: (entries) => entries.join(""),
});

/** Escapes the rest: then the text's length is that of its bytes. */
export const toAscii = (text: string): string =>
  text.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A character for each byte. */
export const toLatin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
