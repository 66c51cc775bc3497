import type { Codec } from "./entry.js";

// A codec is a list of fields, from which both directions are made: their order stands once, and TypeScript asks for every
// field of the type. Encoded values are positional, because a batch reads 50 of them.

/** How a value of a type becomes one or more positions of an array, and comes back. */
export interface Kind<T> {
  /** How many positions it takes. */
  readonly width: number;
  /** Absent: it is written as it is. */
  readonly write?: ((value: T, into: unknown[]) => void) | undefined;
  /** @throws TypeError for what isn't of the type: a broken entry must not decide anything. */
  read(from: readonly unknown[], at: number): T;
}

const asItIs = <T>(is: (value: unknown) => value is T): Kind<T> => ({
  width: 1,
  read(from, at) {
    const value = from[at];
    return is(value) ? value : wrong(at);
  },
});

const isString = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => typeof value === "number";

function wrong(at: number): never {
  throw new TypeError(`field ${at} is of another type`);
}

export const text = asItIs(isString);
export const number = asItIs(isNumber);
export const flag = asItIs((value) => typeof value === "boolean");
export const texts = asItIs<readonly string[]>(
  (value): value is string[] => Array.isArray(value) && value.every(isString),
);
export const fourNumbers = asItIs<readonly [number, number, number, number]>(
  (value): value is [number, number, number, number] =>
    Array.isArray(value) && value.length === 4 && value.every(isNumber),
);

export const oneOf = <Choice extends string>(...choices: readonly Choice[]): Kind<Choice> =>
  asItIs((value): value is Choice => (choices as readonly unknown[]).includes(value));

/** Milliseconds since 1970. */
export const time: Kind<Date> = {
  width: 1,
  write: (value, into) => void into.push(value.getTime()),
  read: (from, at) => new Date(number.read(from, at)),
};

export const bytes: Kind<Uint8Array> = {
  width: 1,
  write: (value, into) => void into.push(Buffer.from(value).toString("base64")),
  read: (from, at) => Buffer.from(text.read(from, at), "base64"),
};

/** Null in each of its positions when it is absent. Its first position is never null when it is there. */
export function optional<T>({ width, write, read }: Kind<T>): Kind<T | undefined> {
  return {
    width,
    write:
      write &&
      ((value, into) => {
        if (value !== undefined) write(value, into);
        else for (let position = 0; position < width; position += 1) into.push(null);
      }),
    read(from, at) {
      const first = from[at];
      return first === null || first === undefined ? undefined : read(from, at);
    },
  };
}

/** Every field of a type, in the order in which they are encoded. */
export type Fields<T> = { readonly [Field in keyof T]-?: Kind<T[Field]> };

/** The positions of its fields, one after the other. */
export function record<T extends object>(kinds: Fields<T>): Kind<T> {
  let width = 0;
  const fields = Object.entries<Kind<unknown>>(kinds as Record<string, Kind<unknown>>).map(([name, kind]) => {
    const offset = width;
    width += kind.width;
    return { name, kind, offset, write: kind.write };
  });
  // Objects that are made by copying it have one shape.
  const blank = Object.fromEntries(fields.map(({ name }) => [name, undefined]));
  return {
    width,
    write(value, into) {
      const values = value as Record<string, unknown>;
      for (const { name, write } of fields) {
        if (write === undefined) into.push(values[name]);
        else write(values[name], into);
      }
    },
    read(from, at) {
      const values: Record<string, unknown> = { ...blank };
      for (const { name, kind, offset } of fields) values[name] = kind.read(from, at + offset);
      return values as T;
    },
  };
}

export function codecOf<T extends object>(fields: Fields<T>): Codec<T> {
  const { write, read } = record(fields);
  return {
    encode(value) {
      const into: unknown[] = [];
      write?.(value, into);
      return into;
    },
    decode: (from) => read(from, 0),
  };
}
