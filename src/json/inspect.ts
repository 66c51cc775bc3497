/** What is known of a value's place before it is parsed. */
export interface JsonShape {
  /** Of an array here: more items are not looked at. Absent: as many as the limits say. */
  readonly maxItems?: number | undefined;
  /** What stands under this name in an object here, or in each object of an array. Undefined: nothing known. */
  member(name: string): JsonShape | undefined;
}

export interface JsonLimits {
  /** Values of any kind and at any depth. */
  readonly maxValues: number;
  /** Arrays and objects within each other. */
  readonly maxDepth: number;
  /** Of an array whose shape says nothing. */
  readonly maxItems: number;
  /** Of an object. */
  readonly maxMembers: number;
  /** Of a text or a name, as it is written. */
  readonly maxTextBytes: number;
  /** Between two other characters. */
  readonly maxBlanks: number;
}

/** Why a text is not worth parsing. */
export interface JsonProblem {
  readonly kind: "items" | "members" | "values" | "depth" | "text" | "blanks";
  /** Names and indices from the top to where it is. */
  readonly path: readonly (string | number)[];
  /** With "items": how many there may be. */
  readonly max?: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const SPACE = 0x20;

/** Thrown through the recursion, and caught where it began. */
class Found {
  constructor(readonly problem: JsonProblem | undefined) {}
}

/**
 * Counts what JSON in UTF-8 holds before it is parsed: two bytes make a value. One pass that builds nothing, and stops at the
 * first count that is too high. Whether it is JSON at all is the parser's affair: of what is not, something may be reported
 * or nothing.
 */
export function inspectJson(text: Buffer, limits: JsonLimits, shape?: JsonShape): JsonProblem | undefined {
  const path: (string | number)[] = [];
  let offset = 0;
  let values = 0;

  function fail(kind: JsonProblem["kind"], max?: number): never {
    throw new Found({ kind, path: [...path], ...(max !== undefined && { max }) });
  }

  /** The next byte that is no blank; NaN at the end. */
  function peek(): number {
    const start = offset;
    let byte = text[offset];
    while (byte !== undefined && byte <= SPACE) {
      if (offset - start >= limits.maxBlanks) fail("blanks");
      byte = text[++offset];
    }
    return byte ?? Number.NaN;
  }

  /** Past the string that begins here. @returns Where its text begins; it ends before the last byte that was read. */
  function skipString(): number {
    const start = offset + 1;
    offset = start;
    for (;;) {
      const byte = text[offset];
      if (byte === undefined) throw new Found(undefined);
      if (offset - start > limits.maxTextBytes) fail("text");
      offset += byte === BACKSLASH ? 2 : 1;
      if (byte === QUOTE) return start;
    }
  }

  function skipScalar(): void {
    const start = offset;
    for (;;) {
      const byte = text[offset];
      if (byte === undefined || byte <= SPACE) break;
      if (byte === COMMA || byte === CLOSE_ARRAY || byte === CLOSE_OBJECT || byte === COLON) break;
      offset += 1;
    }
    if (offset === start) throw new Found(undefined);
  }

  function value(known: JsonShape | undefined, depth: number): void {
    values += 1;
    if (values > limits.maxValues) fail("values");
    const byte = peek();
    if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      if (depth >= limits.maxDepth) fail("depth");
      offset += 1;
      if (byte === OPEN_ARRAY) array(known, depth + 1);
      else object(known, depth + 1);
    } else if (byte === QUOTE) {
      skipString();
    } else {
      skipScalar();
    }
  }

  function array(known: JsonShape | undefined, depth: number): void {
    const max = known?.maxItems ?? limits.maxItems;
    if (peek() === CLOSE_ARRAY) {
      offset += 1;
      return;
    }
    for (let index = 0; ; index += 1) {
      if (index === max) fail("items", max);
      path.push(index);
      value(known, depth);
      path.pop();
      if (!more(CLOSE_ARRAY)) return;
    }
  }

  function object(known: JsonShape | undefined, depth: number): void {
    if (peek() === CLOSE_OBJECT) {
      offset += 1;
      return;
    }
    let members = 0;
    do {
      if (peek() !== QUOTE) throw new Found(undefined);
      members += 1;
      if (members > limits.maxMembers) fail("members");
      const start = skipString();
      const name = text.toString("utf8", start, offset - 1);
      if (peek() !== COLON) throw new Found(undefined);
      offset += 1;
      path.push(name);
      value(known?.member(name), depth);
      path.pop();
    } while (more(CLOSE_OBJECT));
  }

  /** Whether another item follows. */
  function more(end: number): boolean {
    const byte = peek();
    offset += 1;
    if (byte === COMMA) return true;
    if (byte === end) return false;
    throw new Found(undefined);
  }

  try {
    value(shape, 0);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Found) return thrown.problem;
    throw thrown;
  }
}
