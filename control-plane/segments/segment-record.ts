import type { SegmentDefinition, SegmentRule } from '@guidon/engine';
import type { Versioned } from '../commit/change.js';

export type SegmentList = 'included' | 'excluded';
export const SEGMENT_LISTS = ['included', 'excluded'] as const satisfies readonly SegmentList[];

/** How many keys one list of a segment has for one context kind; the keys themselves lie in chunk definitions. */
export interface KeyCount {
  readonly list: SegmentList;
  readonly contextKind: string;
  readonly count: number;
}

/** Row of a segment of one environment. */
export interface SegmentRecord extends Versioned {
  /** New for each segment that is made, also when a deleted segment's key is used again. */
  readonly id: string;
  readonly key: string;
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly rules: readonly SegmentRule[];
  /** Without those that are empty; sorted by list and context kind. */
  readonly keyCounts: readonly KeyCount[];
  /** Made once; no edit, archive or restore changes it. */
  readonly salt: string;
  /** Epoch milliseconds; null = in use. An archived segment is not shipped; its keys are kept as they are. */
  readonly archivedAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** (list, context kind) pairs of one segment. Each has its own chunks, so they are bounded like everything else. */
export const KEY_LISTS_PER_SEGMENT_MAX = 64;

/** What evaluators need of a segment, besides its keys. */
export function segmentDefinitionOf(segment: SegmentRecord): SegmentDefinition {
  return { kind: 'segment', key: segment.key, rules: segment.rules, salt: segment.salt, requires: [] };
}

/** The counts after `count` keys are in that list. */
export function withKeyCount(counts: readonly KeyCount[], changed: KeyCount): KeyCount[] {
  const others = counts.filter(({ list, contextKind }) => list !== changed.list || contextKind !== changed.contextKind);
  const next = changed.count === 0 ? others : [...others, changed];
  return next.sort((a, b) => compareText(b.list, a.list) || compareText(a.contextKind, b.contextKind));
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
