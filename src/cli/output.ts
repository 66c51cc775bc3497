/** What a command prints: a table for people, or JSON for programs. Undefined: there is none. Null: it can't be read. */
export type Row = Readonly<Record<string, string | number | boolean | undefined | null>>;

/** One line a row under a line of names, columns aligned. */
export function formatTable(rows: readonly Row[]): string {
  const [first] = rows;
  if (first === undefined) return "(none)";
  const names = Object.keys(first);
  const lines = [
    names.map((name) => name.toUpperCase()),
    ...rows.map((row) => names.map((name) => cell(row[name]))),
  ];
  const widths = names.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function cell(value: Row[string]): string {
  if (value === null) return "(unreadable)";
  return value === undefined || value === "" ? "-" : String(value);
}

export function print(rows: Row | readonly Row[], json: boolean): void {
  const text = json ? JSON.stringify(rows, undefined, 2) : formatTable(Array.isArray(rows) ? rows : [rows]);
  process.stdout.write(`${text}\n`);
}
