import type { DefinitionChange } from '@guidon/control-plane/commit/change.js';
import { assertFits } from '@guidon/control-plane/flags/check-references.js';
import type { FlagDefinition, FlagSet } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
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
});
