import { parseTargeting, parseVariations } from '@guidon/engine';
import { describe, expect, it } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';

const { on, offVariation, prerequisites, targets, fallthrough } = aFlag('f');
const rules = [{ id: 'r', name: 'Beta testers', when: { segment: ['beta'] }, serve: { variation: 'yes' } }];
const targeting = { on, offVariation, prerequisites, targets, rules, fallthrough };

function pointersOf(value: unknown): string[] {
  const parsed = parseTargeting(value, aFlag('f'));
  return parsed.ok ? [] : parsed.issues.map((issue) => issue.pointer);
}

describe('parseTargeting()', () => {
  it('answers the targeting with the names of its rules', () => {
    expect(parseTargeting(targeting, aFlag('f'))).toEqual({ ok: true, value: targeting });
  });

  it('never accepts a salt, nor any other member of the flag', () => {
    expect(pointersOf({ ...targeting, salt: 'mine' })).toEqual(['/salt']);
    expect(pointersOf({ ...targeting, key: 'f', variations: [], requires: [] })).toEqual([
      '/key',
      '/variations',
      '/requires',
    ]);
  });

  it('requires every member', () => {
    expect(pointersOf({}).sort()).toEqual(
      ['/fallthrough', '/offVariation', '/on', '/prerequisites', '/rules', '/targets'].sort(),
    );
  });

  it('checks variations against the flag', () => {
    expect(pointersOf({ ...targeting, offVariation: 'maybe' })).toEqual(['/offVariation']);
  });

  it('refuses a rule name that is too long or no text', () => {
    expect(pointersOf({ ...targeting, rules: [{ ...rules[0], name: 'n'.repeat(257) }] })).toEqual(['/rules/0/name']);
    expect(pointersOf({ ...targeting, rules: [{ ...rules[0], name: 5 }] })).toEqual(['/rules/0/name']);
  });
});

describe('parseVariations()', () => {
  it('answers keys and values of the type', () => {
    const variations = [
      { key: 'a', value: 0 },
      { key: 'b', value: 1.5 },
    ];
    expect(parseVariations(variations, 'number')).toEqual({ ok: true, value: variations });
  });

  it('points into the list', () => {
    const parsed = parseVariations([{ key: 'a', value: '0' }, { key: '', value: 1 }, 5], 'number');
    expect(parsed.ok ? [] : parsed.issues.map((issue) => issue.pointer)).toEqual(['/0/value', '/1/key', '/2']);
  });
});
