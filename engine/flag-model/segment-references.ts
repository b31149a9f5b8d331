import type { Condition, FlagDefinition, SegmentDefinition } from './definitions.js';

/** A segment clause's naming of a segment; `pointer` is relative to the definition that holds the rules. */
export interface SegmentReference {
  readonly segment: string;
  readonly pointer: string;
}

/** Every naming of a segment in the rules of a flag or segment, in written order. */
export function segmentReferencesOf(definition: FlagDefinition | SegmentDefinition): SegmentReference[] {
  const references: SegmentReference[] = [];
  for (const [index, rule] of definition.rules.entries()) collect(rule.when, `/rules/${index}/when`, references);
  return references;
}

function collect(condition: Condition, pointer: string, references: SegmentReference[]): void {
  if ('all' in condition) collectAll(condition.all, `${pointer}/all`, references);
  else if ('any' in condition) collectAll(condition.any, `${pointer}/any`, references);
  else if ('not' in condition) collect(condition.not, `${pointer}/not`, references);
  else if ('segment' in condition) {
    for (const [index, segment] of condition.segment.entries()) {
      references.push({ segment, pointer: `${pointer}/segment/${index}` });
    }
  }
}

function collectAll(conditions: readonly Condition[], pointer: string, references: SegmentReference[]): void {
  for (const [index, condition] of conditions.entries()) collect(condition, `${pointer}/${index}`, references);
}
