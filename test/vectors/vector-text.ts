import { withoutNumbers } from '../support/vectors.js';
import type { VectorTable } from './tables/vector-table.js';

/** The text of a vector file: one definition or case a line, so that a change shows as the lines that changed. */
export function vectorText({ description, flags, segments, segmentKeys, cases }: VectorTable): string {
  const written = cases.map((vector) => ({ ...vector, context: withoutNumbers(vector.context) }));
  const members = [
    `  "description": ${JSON.stringify(description)}`,
    `  "flags": ${lines(flags)}`,
    `  "segments": ${lines(segments)}`,
    `  "segmentKeys": ${lines(segmentKeys)}`,
    `  "cases": ${lines(written)}`,
  ];
  return `{\n${members.join(',\n')}\n}\n`;
}

function lines(values: readonly unknown[]): string {
  if (values.length === 0) return '[]';
  return `[\n${values.map((value) => `    ${JSON.stringify(value)}`).join(',\n')}\n  ]`;
}
