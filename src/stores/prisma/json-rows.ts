/** The columns of a table that are read, by the field of Prisma's model, each with its SQL type. */
export type Columns<Row> = { readonly [Field in keyof Row]: readonly [column: string, type: string] };

/** How rows are read as JSON: by Driver.readJson, as arrays in the order of the columns. */
export interface JsonRows<Row> {
  /** SQL of one row. */
  readonly sql: string;
  /** SQL of a row that takes as long to write, send and parse, and is nobody's. */
  readonly standInSql: string;
  /** The row that it yields, as Prisma would give it. */
  parse(values: readonly unknown[]): Row;
}

/** What JSON has no form for, or none that is quick to read: how SQL writes it, and how it comes back. */
const CONVERSIONS: Readonly<Record<string, { sql(column: string): string; parse(value: unknown): unknown }>> =
  {
    // Milliseconds: columns keep no less.
    timestamptz: {
      sql: (column) => `(extract(epoch FROM ${column}) * 1000)::float8`,
      parse: (value) => new Date(Number(value)),
    },
    bytea: {
      sql: (column) => `encode(${column}, 'base64')`,
      parse: (value) => new Uint8Array(Buffer.from(String(value), "base64")),
    },
    int8: { sql: (column) => `${column}::text`, parse: (value) => BigInt(String(value)) },
  };

/** A value of each type, as long as a usual one. Of an enum it is a text. Numbers are 0, which no revision is. */
const STAND_INS: Readonly<Record<string, string>> = {
  uuid: "'00000000-0000-0000-0000-000000000000'::uuid",
  timestamptz: "'2026-01-01Z'::timestamptz",
  int2: "0",
  int4: "0",
  "float8[]": "'{}'::float8[]",
  "text[]": "'{}'::text[]",
};
const STAND_IN_TEXT = "'what stands in'::text";

export function jsonRows<Row extends object>(columns: Columns<Row>): JsonRows<Row> {
  const fields = Object.entries<readonly [string, string]>(columns).map(([field, [column, type]]) => ({
    field,
    sql: toSql(column, type),
    standInSql: toSql(STAND_INS[type] ?? STAND_IN_TEXT, type),
    parse: CONVERSIONS[type]?.parse,
  }));
  // Rows that are made by copying it have one shape.
  const blank: Readonly<Record<string, unknown>> = Object.fromEntries(
    fields.map(({ field }) => [field, null]),
  );
  return {
    sql: `json_build_array(${fields.map(({ sql }) => sql).join(", ")})`,
    standInSql: `json_build_array(${fields.map(({ standInSql }) => standInSql).join(", ")})`,
    parse(values) {
      const row: Record<string, unknown> = { ...blank };
      let index = 0;
      for (const { field, parse } of fields) {
        const value = values[index++];
        row[field] = parse === undefined || value === null ? value : parse(value);
      }
      return row as Row;
    },
  };
}

const toSql = (expression: string, type: string): string => CONVERSIONS[type]?.sql(expression) ?? expression;
