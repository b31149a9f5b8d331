import { printableText, printTable } from '@guidon/cli/options/print-table.js';
import { afterEach, expect, it, vi } from 'vitest';

afterEach(() => vi.restoreAllMocks());

it('printTable() aligns columns, and lets no cell move the cursor or begin a row', () => {
  const printed: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => printed.push(line));
  printTable([
    ['WHAT', 'COUNT'],
    ['\u001b[2J\u0007\nrow', '1'],
    ['\u009b31m\u007f', '2'],
  ]);
  expect(printed).toEqual([
    'WHAT                      COUNT',
    String.raw`\u001b[2J\u0007\u000arow  1`,
    String.raw`\u009b31m\u007f           2`,
  ]);
});

it('printableText() leaves everything else as it is', () => {
  expect(printableText('é漢🌍 "x" \\')).toBe('é漢🌍 "x" \\');
});
