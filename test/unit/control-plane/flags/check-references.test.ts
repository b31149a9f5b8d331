import type { DefinitionChange } from '@guidon/control-plane/commit/change.js';
import { assertFits } from '@guidon/control-plane/flags/check-references.js';
import type { FlagDefinition, FlagSet } from '@guidon/engine';
import { LIMITS, PlatformError } from '@guidon/protocol';
import { describe, expect, test } from 'vitest';
import { aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';

function issuesOf(base: FlagSet, put: readonly FlagDefinition[]): string[] {
  const changes: DefinitionChange[] = put.map((definition) => ({ put: definition }));
  try {
    assertFits(base, changes, (kind, key) => `/${kind}-of-the-body/${key}`);
    return [];
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error;
    return (error.issues ?? []).map(({ code, pointer }) => `${code} ${pointer}`);
  }
}

const requiring = (key: string, flag: string, variation = 'yes', changes: Partial<FlagDefinition> = {}) =>
  aFlag(key, { prerequisites: [{ flag, variations: [variation] }], ...changes });
const inSegment = (segment: string, changes: Partial<FlagDefinition> = {}) =>
  aFlag('a', { rules: [{ id: 'r', when: { segment: [segment] }, serve: { variation: 'yes' } }], ...changes });
const without = (key: string) => aFlag(key, { variations: ['no', 'off'].map((name) => ({ key: name, value: name })) });

describe('assertFits()', () => {
  test('finds what a new reference does not find or closes', () => {
    const base = flagSetOf([aFlag('a'), requiring('b', 'a'), aFlag('c'), aSegment('s')]);
    expect(issuesOf(base, [aFlag('a', { on: false })])).toEqual([]);
    expect(issuesOf(base, [inSegment('s')])).toEqual([]);
    expect(issuesOf(base, [inSegment('nothing')])).toEqual([
      'dangling-reference /flag-of-the-body/a/rules/0/when/segment/0',
    ]);
    expect(issuesOf(base, [requiring('a', 'b')])).toEqual(['reference-cycle /flag-of-the-body/a/prerequisites']);
    expect(issuesOf(base, [without('a')])).toEqual([
      'dangling-reference /flag-of-the-body/b/prerequisites/0/variations/0',
    ]);
  });

  test('a flag that names what it named before is looked at alone, and still tells what dangles in it', () => {
    const base = flagSetOf([inSegment('gone'), requiring('b', 'c', 'yes'), without('c'), requiring('d', 'nowhere')]);
    expect(issuesOf(base, [inSegment('gone', { on: false })])).toEqual([
      'dangling-reference /flag-of-the-body/a/rules/0/when/segment/0',
    ]);
    expect(issuesOf(base, [requiring('b', 'c', 'yes', { on: false })])).toEqual([
      'dangling-reference /flag-of-the-body/b/prerequisites/0/variations/0',
    ]);
    expect(issuesOf(base, [requiring('d', 'nowhere', 'yes', { on: false })])).toEqual([
      'dangling-reference /flag-of-the-body/d/prerequisites/0/flag',
    ]);
  });

  test('a new flag is looked at with all that it reaches, and with nothing else', () => {
    const deep = Array.from({ length: LIMITS.referenceDepth }, (_, index) =>
      requiring(`deep-${index + 1}`, `deep-${index}`),
    );
    const base = flagSetOf([aFlag('deep-0'), ...deep, aFlag('a'), requiring('lame', 'a', 'no-such'), aSegment('s')]);
    expect(issuesOf(base, [aFlag('new')])).toEqual([]);
    expect(issuesOf(base, [requiring('new', 'lame')])).toEqual([]);
    expect(issuesOf(base, [requiring('new', 'lame', 'no-such')])).toEqual([
      'dangling-reference /flag-of-the-body/new/prerequisites/0/variations/0',
    ]);
    expect(issuesOf(base, [requiring('new', `deep-${LIMITS.referenceDepth - 1}`)])).toEqual([]);
    expect(issuesOf(base, [requiring('new', `deep-${LIMITS.referenceDepth}`)])).toEqual([
      'reference-cycle /flag-of-the-body/new/prerequisites',
    ]);
    expect(issuesOf(base, [requiring('new', 'newer'), requiring('newer', 'new')])).toEqual([
      'reference-cycle /flag-of-the-body/new/prerequisites',
    ]);
    expect(issuesOf(base, [requiring('new', 'new')])).toEqual(['reference-cycle /flag-of-the-body/new/prerequisites']);
  });

  test('one flag more than an environment may have is refused, however little it names', () => {
    const all = Array.from({ length: LIMITS.flagsPerEnvironment }, (_, index) => aFlag(`flag-${index}`));
    expect(issuesOf(flagSetOf(all.slice(1)), [aFlag('new')])).toEqual([]);
    expect(issuesOf(flagSetOf(all), [aFlag('new')])).toEqual(['limit-exceeded /flags']);
  });
});
