import { readFileSync } from 'node:fs';
import { LAYOUT_HASH, LAYOUT_TABLES, SNAPSHOT_FORMAT_VERSION } from '@guidon/engine/compile/layout.js';
import { renderAssemblyCaseFolding } from '@guidon/scripts/render-assembly-case-folding.js';
import { renderAssemblyLayout } from '@guidon/scripts/render-assembly-layout.js';
import { expect, it } from 'vitest';

const assembly = new URL('../../../../assembly/', import.meta.url);

it('pins the layout beside the format version: change one, change both', () => {
  expect({ version: SNAPSHOT_FORMAT_VERSION, layoutHash: LAYOUT_HASH }).toEqual({
    version: 10,
    layoutHash: 1890270731,
  });
});

it.each([
  ['layout.ts', renderAssemblyLayout],
  ['case-folding.ts', renderAssemblyCaseFolding],
])('assembly/%s is what the generator writes: after an edit run `npm run generate`', (name, render) => {
  expect(readFileSync(new URL(name, assembly), 'utf8') === render()).toBe(true);
});

it('keeps the fields of every record inside of it and apart', () => {
  for (const [table, fields] of Object.entries(LAYOUT_TABLES)) {
    const { bytes, ...offsets } = fields;
    if (bytes === undefined) continue;
    const sorted = Object.values(offsets).sort((a, b) => a - b);
    // Fields that start where the record ends name what follows it; codes of other tables have no `bytes`.
    expect(
      sorted.every((offset) => offset <= bytes),
      table,
    ).toBe(true);
    // A shape has counts among its offsets, a node has either a value or a count.
    if (!['SHAPE', 'SHAPE_NAME', 'NODE'].includes(table)) expect(new Set(sorted).size, table).toBe(sorted.length);
  }
});
