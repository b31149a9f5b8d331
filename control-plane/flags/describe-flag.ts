import { isDeepStrictEqual } from 'node:util';
import { toScalarText } from '@guidon/engine';
import { countOf } from './describe-targeting.js';
import type { FlagRecord } from './flag-record.js';

/** What changed between two states of a flag, a sentence each. Empty when nothing did. */
export function describeFlagChange(before: FlagRecord, after: FlagRecord): string[] {
  const sentences: string[] = [];
  if (before.name !== after.name) sentences.push(`renamed to ${after.name}`);
  if (before.description !== after.description) sentences.push('description changed');
  if (!isDeepStrictEqual(before.tags, after.tags)) sentences.push(`tags are now ${after.tags.join(', ') || 'none'}`);
  if (before.lifetime !== after.lifetime) sentences.push(`lifetime is now ${after.lifetime}`);
  sentences.push(...describeSharedChange(before, after));
  if (!isDeepStrictEqual(before.valueSchema, after.valueSchema)) {
    sentences.push(after.valueSchema === null ? 'valueSchema removed' : 'valueSchema changed');
  }
  return sentences;
}

/** What all environments of a project serve alike of a flag. */
type SharedPart = Pick<FlagRecord, 'clientSide' | 'variations'>;

export function describeSharedChange(before: SharedPart, after: SharedPart): string[] {
  const isVisible = after.clientSide ? 'visible to client keys' : 'no longer visible to client keys';
  return [...(before.clientSide === after.clientSide ? [] : [isVisible]), ...describeVariations(before, after)];
}

function describeVariations({ variations: before }: SharedPart, { variations: after }: SharedPart): string[] {
  const old = new Map(before.map((variation) => [variation.key, variation]));
  const now = new Map(after.map((variation) => [variation.key, variation]));
  const sentences = [
    ...after.flatMap(({ key }) => (old.has(key) ? [] : [`variation ${key} added`])),
    ...before.flatMap(({ key }) => (now.has(key) ? [] : [`variation ${key} removed`])),
    ...after.flatMap(({ key, name, value }) => {
      const previous = old.get(key);
      if (previous === undefined) return [];
      return [
        ...(isDeepStrictEqual(previous.value, value) ? [] : [`value of variation ${key} changed`]),
        ...(previous.name === name ? [] : [`variation ${key} renamed`]),
      ];
    }),
  ];
  const isReordered =
    before
      .filter(({ key }) => now.has(key))
      .map(({ key }) => key)
      .join() !==
    after
      .filter(({ key }) => old.has(key))
      .map(({ key }) => key)
      .join();
  return isReordered ? [...sentences, 'variations reordered'] : sentences;
}

const SENTENCES_SHOWN_MAX = 20;
/** UTF-16 units. A sentence may name an attribute path of 32 KiB; the audit entry that holds the summary is bounded. */
const SENTENCE_UNITS_MAX = 200;

/** The one-line summary of a change: `flag checkout in production: turned on; rule x added`. */
export function summarise(subject: string, sentences: readonly string[]): string {
  if (sentences.length === 0) return `${subject}: nothing changed`;
  const shown = sentences.slice(0, SENTENCES_SHOWN_MAX).map(shortened).join('; ');
  const rest = sentences.length - SENTENCES_SHOWN_MAX;
  return `${subject}: ${shown}${rest > 0 ? ` and ${countOf(rest, 'more change')}` : ''}`;
}

function shortened(sentence: string): string {
  if (sentence.length <= SENTENCE_UNITS_MAX) return sentence;
  return `${toScalarText(sentence.slice(0, SENTENCE_UNITS_MAX))}…`;
}
