import {
  findFlagUsers,
  findPrerequisiteUsers,
  findSegmentUsers,
  findVariationUsers,
  type ServedDefinitions,
} from '@guidon/control-plane/flags/find-users.js';
import type { FlagDefinition, SegmentDefinition } from '@guidon/engine';
import { describe, expect, it } from 'vitest';

const flag = (key: string, members: Partial<FlagDefinition> = {}): FlagDefinition => ({
  kind: 'flag',
  key,
  type: 'boolean',
  clientSide: false,
  variations: [
    { key: 'on', value: true },
    { key: 'off', value: false },
  ],
  on: true,
  offVariation: 'off',
  prerequisites: [],
  targets: [],
  rules: [],
  fallthrough: { variation: 'on' },
  salt: 'salt',
  requires: [],
  ...members,
});

const segment = (key: string, members: Partial<SegmentDefinition> = {}): SegmentDefinition => ({
  kind: 'segment',
  key,
  rules: [],
  salt: 'salt',
  requires: [],
  ...members,
});

const served = (flags: FlagDefinition[], segments: SegmentDefinition[] = []): ServedDefinitions => ({
  environmentKey: 'production',
  flags,
  segments,
});

const pointers = (issues: readonly { pointer: string; code: string }[]): string[] => {
  expect(issues.every(({ code }) => code === 'in-use')).toBe(true);
  return issues.map(({ pointer }) => pointer);
};

describe('findFlagUsers()', () => {
  it('points at every prerequisite, and not at the flag itself', () => {
    const users = served([
      flag('a', { prerequisites: [{ flag: 'a', variations: ['on'] }] }),
      flag('b', {
        prerequisites: [
          { flag: 'x', variations: ['on'] },
          { flag: 'a', variations: ['on'] },
        ],
      }),
      flag('c', { prerequisites: [{ flag: 'a', variations: ['off'] }] }),
    ]);
    expect(pointers(findFlagUsers(users, 'a'))).toEqual([
      '/environments/production/flags/b/targeting/prerequisites/1',
      '/environments/production/flags/c/targeting/prerequisites/0',
    ]);
    expect(pointers(findPrerequisiteUsers(users, 'a', new Set(['off'])))).toEqual([
      '/environments/production/flags/c/targeting/prerequisites/0',
    ]);
  });
});

describe('findVariationUsers()', () => {
  it('points at off variation, targets, rules and fallthrough', () => {
    const targeting = flag('a', {
      offVariation: 'gone',
      targets: [
        { contextKind: 'user', variation: 'kept', keys: ['u'] },
        { contextKind: 'user', variation: 'gone', keys: [] },
      ],
      rules: [
        { id: 'r0', when: { all: [] }, serve: { variation: 'kept' } },
        { id: 'r1', when: { all: [] }, serve: { variation: 'gone' } },
        {
          id: 'r2',
          when: { all: [] },
          // A weight of 0 is a use: raising it must not meet a variation that is not there.
          serve: {
            rollout: {
              weights: [
                { variation: 'kept', weight: 100_000 },
                { variation: 'gone', weight: 0 },
              ],
            },
          },
        },
      ],
      fallthrough: { variation: 'gone' },
    });
    expect(pointers(findVariationUsers('production', 'a', targeting, new Set(['gone'])))).toEqual([
      '/environments/production/flags/a/targeting/offVariation',
      '/environments/production/flags/a/targeting/targets/1/variation',
      '/environments/production/flags/a/targeting/rules/1/serve',
      '/environments/production/flags/a/targeting/rules/2/serve',
      '/environments/production/flags/a/targeting/fallthrough',
    ]);
    expect(findVariationUsers('production', 'a', targeting, new Set(['other']))).toEqual([]);
  });
});

describe('findSegmentUsers()', () => {
  it('points into nested conditions of flags and segments', () => {
    const when = {
      all: [
        { attribute: 'a', op: 'exists', values: [true] },
        { any: [{ not: { segment: ['x', 'beta'], negate: true } }, { segment: ['beta'] }] },
      ],
    } as const;
    const users = served(
      [flag('a', { rules: [{ id: 'r', when, serve: { variation: 'on' } }] }), flag('b')],
      [segment('s', { rules: [{ when: { segment: ['x'] } }, { when: { segment: ['beta'] } }] }), segment('beta')],
    );
    expect(pointers(findSegmentUsers(users, 'beta'))).toEqual([
      '/environments/production/flags/a/targeting/rules/0/when/all/1/any/0/not/segment/1',
      '/environments/production/flags/a/targeting/rules/0/when/all/1/any/1/segment/0',
      '/environments/production/segments/s/rules/1/when/segment/0',
    ]);
    expect(findSegmentUsers(users, 's')).toEqual([]);
  });
});
