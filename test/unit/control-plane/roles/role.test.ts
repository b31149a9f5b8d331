import { mayGrant } from '@guidon/control-plane/roles/built-in-roles.js';
import { matchesGlob, matchesPath, resourcePathOf } from '@guidon/control-plane/roles/resource-path.js';
import { decideByRoles, type Statement, statementSchema } from '@guidon/control-plane/roles/role.js';
import { describe, expect, test } from 'vitest';

const allow = (actions: string[], resources: string[], tags: string[] = []): Statement => ({
  effect: 'allow',
  actions,
  resources,
  tags,
});
const deny = (actions: string[], resources: string[], tags: string[] = []): Statement => ({
  ...allow(actions, resources, tags),
  effect: 'deny',
});
const at = (path: string, tags: string[] = []) => ({ path, tags });
const CHECKOUT = 'project:shop/env:production/flag:checkout';

describe('resource paths', () => {
  test('resourcePathOf() names things in the order of the path', () => {
    expect(resourcePathOf({})).toBe('');
    expect(resourcePathOf({ flagKey: 'checkout', projectKey: 'shop' })).toBe('project:shop/flag:checkout');
    expect(resourcePathOf({ flagKey: 'checkout', environmentKey: 'production', projectKey: 'shop' })).toBe(CHECKOUT);
  });

  test.each([
    ['*', CHECKOUT, true],
    ['*', '', true],
    [CHECKOUT, CHECKOUT, true],
    ['project:shop/env:production/flag:*', CHECKOUT, true],
    ['project:*/env:prod*/flag:check*t', CHECKOUT, true],
    ['project:shop/*', CHECKOUT, true],
    ['project:shop/*', 'project:shop', false],
    ['project:shop', CHECKOUT, false],
    ['project:shop/env:staging/flag:*', CHECKOUT, false],
    ['project:shop/flag:*', CHECKOUT, false],
    ['project:shop/env:production/flag:*', 'project:shop/env:production/segment:beta', false],
    ['project:shop/env:production/flag:*', 'project:shop/env:production', false],
    ['project:sho', 'project:shop', false],
    ['', '', true],
    ['', 'project:shop', false],
  ])('matchesPath(%s, %s) is %s', (pattern, path, expected) => {
    expect(matchesPath(pattern, path)).toBe(expected);
  });

  test.each([
    ['a*', 'a', true],
    ['*a', 'a', true],
    ['a*a', 'a', false],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['a*bc*c', 'abc', false],
    ['**', 'anything', true],
    ['', '', true],
    ['', 'x', false],
    ['flag.*', 'flag.update', true],
    ['*.read', 'flag.update', false],
  ])('matchesGlob(%s, %s) is %s', (pattern, text, expected) => {
    expect(matchesGlob(pattern, text)).toBe(expected);
  });

  test('matchesGlob() takes a pattern of many stars in no time', () => {
    expect(matchesGlob(`${'a*'.repeat(60)}b`, 'a'.repeat(10_000))).toBe(false);
  });
});

describe('decideByRoles()', () => {
  const editors = { key: 'checkout-team', statements: [allow(['flag.*'], ['project:shop/*'])] };

  test('what nothing allows is denied, and the reason says what is held', () => {
    expect(decideByRoles([], 'flag.read', at(CHECKOUT))).toEqual({
      isAllowed: false,
      reason: `no role held allows flag.read on ${CHECKOUT}; held: none`,
    });
    expect(decideByRoles([editors], 'segment.read', at(CHECKOUT))).toMatchObject({
      reason: expect.stringContaining('held: checkout-team'),
    });
    expect(decideByRoles([editors], 'flag.read', at('project:other/flag:x')).isAllowed).toBe(false);
    expect(decideByRoles([editors], 'flag.read', at(CHECKOUT))).toEqual({ isAllowed: true });
  });

  test('a denial wins, whichever role has it and in whatever order', () => {
    const careful = { key: 'careful', statements: [deny(['flag.delete'], ['*'])] };
    for (const roles of [
      [editors, careful],
      [careful, editors],
    ]) {
      expect(decideByRoles(roles, 'flag.delete', at(CHECKOUT))).toEqual({
        isAllowed: false,
        reason: `the role careful denies flag.delete on ${CHECKOUT}`,
      });
      expect(decideByRoles(roles, 'flag.update', at(CHECKOUT)).isAllowed).toBe(true);
    }
  });

  test('tags narrow a statement to things that have all of them', () => {
    const tagged = { key: 'r', statements: [allow(['flag.*'], ['*'], ['team-a', 'web'])] };
    expect(decideByRoles([tagged], 'flag.update', at(CHECKOUT, ['web', 'x', 'team-a'])).isAllowed).toBe(true);
    expect(decideByRoles([tagged], 'flag.update', at(CHECKOUT, ['web'])).isAllowed).toBe(false);
  });

  test('holders: a statement is not enough without one of those roles', () => {
    const all = { key: 'all', statements: [allow(['*'], ['*'])] };
    expect(decideByRoles([all], 'role.create', at(''), ['owner', 'admin'])).toEqual({
      isAllowed: false,
      reason: 'only the roles owner and admin allow role.create on the tenant; held: all',
    });
    expect(decideByRoles([{ ...all, key: 'admin' }], 'role.create', at(''), ['owner', 'admin']).isAllowed).toBe(true);
  });
});

describe('statementSchema', () => {
  const good = { effect: 'allow', actions: ['flag.*'], resources: ['project:shop/*'] };
  test.each([
    [good, true],
    [{ ...good, actions: ['*'], resources: ['*', 'project:a*/env:b'], tags: ['t'] }, true],
    [{ ...good, effect: 'maybe' }, false],
    [{ ...good, actions: [] }, false],
    [{ ...good, actions: ['flag.upd*'] }, false],
    [{ ...good, resources: ['tenant:x'] }, false],
    [{ ...good, resources: ['project:a/b'] }, false],
    [{ ...good, resources: ['project:a:b'] }, false],
    [{ ...good, resources: ['project:ä'] }, false],
    [{ ...good, unknown: 1 }, false],
  ])('%j: %s', (statement, expected) => {
    expect(statementSchema.safeParse(statement).success).toBe(expected);
  });
});

test('mayGrant(): owners any role, admins any but owner, others what they hold', () => {
  const roles = ['viewer', 'editor', 'admin', 'owner', 'custom'];
  const granted = (held: string[]) => roles.filter((role) => mayGrant(held, role));
  expect(granted(['owner'])).toEqual(roles);
  expect(granted(['admin'])).toEqual(['viewer', 'editor', 'admin', 'custom']);
  expect(granted(['editor', 'custom'])).toEqual(['editor', 'custom']);
  expect(granted([])).toEqual([]);
});
