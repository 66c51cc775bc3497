/** What a command prints: a table for people, or JSON for programs. Undefined: there is none. Null: it can't be read. */
export type Row = Readonly<Record<string, string | number | boolean | undefined | null>>;

/**
 * What a terminal obeys, and what makes text look like another: control characters, directions of writing, separators of
 * lines. Tenants choose names, and the operator's terminal shows them.
 */
const CONTROLS = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

/** Makes them visible, as `\u001b`, line ends included. Of text within JSON that changes nothing of its value. */
export const escapeControls = (text: string): string =>
  text.replace(CONTROLS, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** The same of text that has lines of its own: these stay. */
export const escapeLines = (text: string): string => text.split("\n").map(escapeControls).join("\n");

/** For commands' own messages about their arguments, which they quote. */
export const COMMAND_OUTPUT = {
  outputError: (text: string, write: (text: string) => void) => write(escapeLines(text)),
};

export function print(rows: Row | readonly Row[], json: boolean): void {
  process.stdout.write(`${json ? formatJson(rows) : formatTable(Array.isArray(rows) ? rows : [rows])}\n`);
}

/** To standard error, which is for people. */
export function printError(text: string): void {
  process.stderr.write(`${escapeLines(text)}\n`);
}

export const formatJson = (rows: Row | readonly Row[]): string =>
  escapeLines(JSON.stringify(rows, undefined, 2));

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
  return value === undefined || value === "" ? "-" : escapeControls(String(value));
}
