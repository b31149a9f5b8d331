const CONTROL = /\p{Cc}/gu;

/** For a terminal: names that clients make up, with a key that is in every page, could tell it to do things. */
export function printableText(text: string): string {
  return text.replaceAll(CONTROL, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Rows of cells in columns as wide as they need; the first row is the heading. */
export function printTable(table: readonly (readonly string[])[]): void {
  const rows = table.map((row) => row.map(printableText));
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows) {
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
  }
}
