import { boundedDiff } from '../audit/audit-entry.js';
import type { DefinitionName } from '../commit/definition-history.js';
import type { DefinitionEntryRow } from '../commit/definition-store.js';
import { type DiffEntry, diffJson } from '../commit/diff.js';
import { asJson } from '../flags/as-json.js';
import {
  describeFlagDefinitionChange,
  describeKeysChange,
  describeSegmentDefinitionChange,
} from './describe-definitions.js';
import type { PastDefinitions } from './past-definitions.js';

/** Changed flags and segments that a comparison goes into; of the others it gives the names. */
export const DESCRIBED_MAX = 200;
/** Chunks of one key list that are compared key by key, on both sides together. */
const CHUNKS_COMPARED_MAX = 256;

/** A definition that differs between two revisions. */
export interface Difference extends DefinitionName {
  readonly before: DefinitionEntryRow | undefined;
  readonly after: DefinitionEntryRow | undefined;
}

export interface DescribedDifference extends DefinitionName {
  readonly sentences: readonly string[];
  readonly diff: readonly DiffEntry[];
  /** Members of the diff that were left out because it is too large. */
  readonly diffOmitted?: number;
}

export interface Comparison {
  /** A sentence for each change, of the first DESCRIBED_MAX changed definitions. */
  readonly sentences: readonly string[];
  /** Flags and segments that only the later or only the earlier side has. */
  readonly added: readonly DefinitionName[];
  readonly removed: readonly DefinitionName[];
  readonly changed: readonly DescribedDifference[];
  /** Changed flags and segments that `changed` does not go into. */
  readonly changedOmitted: readonly DefinitionName[];
}

/** Which of `names` differ, flags before segments before their keys, by key. */
export function differencesOf(
  past: PastDefinitions,
  names: readonly DefinitionName[],
  from: number,
  to: number,
): Difference[] {
  return names
    .map(({ kind, key }) => {
      const name = { kind, key };
      return { ...name, before: past.findEntry(name, from), after: past.findEntry(name, to) };
    })
    .filter(({ before, after }) => before?.hash !== after?.hash)
    .sort((a, b) => (a.kind === b.kind ? compareText(a.key, b.key) : compareText(a.kind, b.kind)));
}

const compareText = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

export function compare(
  past: PastDefinitions,
  differences: readonly Difference[],
  from: number,
  to: number,
): Comparison {
  const things = differences.filter(({ kind }) => kind !== 'segment-keys');
  const names = (some: readonly Difference[]) => some.map(({ kind, key }) => ({ kind, key }));
  const added = things.filter(({ before }) => before === undefined);
  const removed = things.filter(({ after }) => after === undefined);
  const changed = things.filter(({ before, after }) => before !== undefined && after !== undefined);
  const described = changed.slice(0, DESCRIBED_MAX).map((difference) => describeDifference(past, difference, from, to));
  return {
    sentences: [
      ...added.slice(0, DESCRIBED_MAX).map(({ kind, key }) => `${kind} ${key} added`),
      ...removed.slice(0, DESCRIBED_MAX).map(({ kind, key }) => `${kind} ${key} removed`),
      ...described.flatMap(({ kind, key, sentences }) => sentences.map((sentence) => `${kind} ${key}: ${sentence}`)),
      ...keySentences(past, differences, from, to),
    ],
    added: names(added),
    removed: names(removed),
    changed: described,
    changedOmitted: names(changed.slice(DESCRIBED_MAX)),
  };
}

function describeDifference(
  past: PastDefinitions,
  { kind, key }: Difference,
  from: number,
  to: number,
): DescribedDifference {
  if (kind === 'flag') {
    const [before, after] = [past.find('flag', key, from), past.find('flag', key, to)];
    if (before === undefined || after === undefined) throw new Error('a changed flag is on both sides');
    const diff = boundedDiff(diffJson(asJson(before), asJson(after)));
    return { kind, key, sentences: describeFlagDefinitionChange(before, after), ...diff };
  }
  const [before, after] = [past.find('segment', key, from), past.find('segment', key, to)];
  if (before === undefined || after === undefined) throw new Error('a changed segment is on both sides');
  const diff = boundedDiff(diffJson(asJson(before), asJson(after)));
  return { kind, key, sentences: describeSegmentDefinitionChange(before, after), ...diff };
}

/** A sentence per key list. Its chunks are named `<segment>/<list>/<prefix>/<contextKind>`; only the last part may hold a slash. */
function keySentences(past: PastDefinitions, differences: readonly Difference[], from: number, to: number): string[] {
  const lists = new Map<string, Difference[]>();
  for (const difference of differences.filter(({ kind }) => kind === 'segment-keys')) {
    const [segment = '', list = '', , ...contextKind] = difference.key.split('/');
    const text = `segment ${segment}, keys ${list} for kind ${contextKind.join('/')}`;
    lists.set(text, [...(lists.get(text) ?? []), difference]);
  }
  return [...lists].slice(0, DESCRIBED_MAX).map(([text, chunks]) => {
    if (chunks.length > CHUNKS_COMPARED_MAX) return `${text}: ${chunks.length} chunks of keys changed`;
    const read = (side: 'before' | 'after', revision: number) =>
      chunks.flatMap(({ [side]: entry }) => (entry === undefined ? [] : [past.read<'segment-keys'>(entry, revision)]));
    const { added, removed } = describeKeysChange(read('before', from), read('after', to));
    return `${text}: ${added} added, ${removed} removed`;
  });
}
