import {
  defaultTargeting,
  type FlagRecord,
  flagDefinitionOf,
  generateSalt,
} from '@guidon/control-plane/flags/flag-record.js';
import { encodeDefinition, parseFlagDefinition } from '@guidon/engine';
import { describe, expect, it } from 'vitest';

const variations = (...keys: string[]) => keys.map((key) => ({ key, value: key }));

describe('defaultTargeting()', () => {
  const cases: [string[], string, string][] = [
    [['on', 'off'], 'off', 'on'],
    [['off', 'on'], 'off', 'off'],
    [['a', 'b', 'c'], 'c', 'a'],
    [['only'], 'only', 'only'],
  ];
  it.each(cases)('of %j is off with %s, and %s once on', (keys, offVariation, fallthrough) => {
    expect(defaultTargeting(variations(...keys))).toEqual({
      on: false,
      offVariation,
      prerequisites: [],
      targets: [],
      rules: [],
      fallthrough: { variation: fallthrough },
    });
  });
});

describe('generateSalt()', () => {
  it('has no dot and does not repeat', () => {
    const salts = Array.from({ length: 1_000 }, generateSalt);
    expect(salts.every((salt) => /^[A-Za-z0-9_-]{22}$/.test(salt))).toBe(true);
    expect(new Set(salts).size).toBe(1_000);
  });
});

describe('flagDefinitionOf()', () => {
  const flag: FlagRecord = {
    version: 3,
    id: 'flg_1',
    key: 'f',
    type: 'string',
    name: 'n',
    description: 'd',
    tags: ['t'],
    lifetime: 'temporary',
    clientSide: true,
    variations: [
      { key: 'a', name: 'A', value: '1' },
      { key: 'b', value: '2' },
    ],
    valueSchema: null,
    archivedAt: null,
    createdAt: 1,
    updatedAt: 2,
  };
  const targeting = {
    ...defaultTargeting(flag.variations),
    rules: [{ id: 'r', name: 'R', when: { all: [] }, serve: { variation: 'b' } }],
  };

  it('holds what evaluators need and nothing that people call things', () => {
    const definition = flagDefinitionOf(flag, { version: 9, flagId: 'flg_1', targeting, salt: 's', updatedAt: 3 });
    expect(parseFlagDefinition(definition)).toEqual({ ok: true, value: definition });
    const text = Buffer.from(encodeDefinition(definition)).toString('utf8');
    expect(text).not.toMatch(/"(name|description|tags|version|id":"flg)/);
    const renamed = {
      ...flag,
      name: 'other',
      description: 'x',
      tags: [],
      version: 4,
      variations: variations('a', 'b').map((each, index) => ({ ...each, name: 'N', value: `${index + 1}` })),
    };
    const again = flagDefinitionOf(renamed, { version: 10, flagId: 'flg_1', targeting, salt: 's', updatedAt: 4 });
    expect(Buffer.from(encodeDefinition(again)).toString('utf8')).toBe(text);
  });
});
