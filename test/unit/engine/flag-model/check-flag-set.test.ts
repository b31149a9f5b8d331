import {
  checkFlagSet,
  type Definition,
  findDanglingReferences,
  hashText,
  type SegmentKeysDefinition,
} from '@guidon/engine';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';

const needing = (key: string, ...flags: string[]): Definition =>
  aFlag(key, { prerequisites: flags.map((flag) => ({ flag, variations: ['no'] })) });
const using = (key: string, ...segments: string[]): Definition =>
  aSegment(key, { rules: segments.map((segment) => ({ when: { all: [{ not: { segment: [segment] } }] } })) });
const chain = (edges: number, make: (key: string, ...others: string[]) => Definition): Definition[] =>
  Array.from({ length: edges + 1 }, (_, index) => make(`k${index}`, ...(index < edges ? [`k${index + 1}`] : [])));

function check(definitions: readonly Definition[]): (readonly [string, string, string])[] {
  return checkFlagSet(flagSetOf(definitions)).map(({ pointer, code, detail }) => [pointer, code, detail] as const);
}

function chunkOf(prefix: string, keys: readonly string[], segment = 's'): SegmentKeysDefinition {
  return { ...aChunk(segment, 'included', keys), prefix };
}

/** Some keys whose hash starts with `prefix`. */
function keysUnder(prefix: string, count: number): string[] {
  const keys: string[] = [];
  for (let index = 100_000; keys.length < count; index++) {
    if (hashText(`k${index}`).toString(2).padStart(32, '0').startsWith(prefix)) keys.push(`k${index}`);
  }
  return keys;
}

describe('checkFlagSet() references', () => {
  it('names every flag of a prerequisite cycle', () => {
    const issues = check([needing('a', 'b'), needing('b', 'c'), needing('c', 'a'), needing('d', 'a'), needing('e')]);
    expect(issues).toEqual([
      ['/flags/a/prerequisites', 'reference-cycle', 'each flag of these reaches itself: a -> b -> c -> a'],
    ]);
  });

  it('names a flag that needs itself', () => {
    expect(check([needing('a', 'a')])[0]?.[2]).toContain('a -> a');
  });

  it('names all members where cycles overlap', () => {
    const [issue, ...others] = check([needing('a', 'b', 'c'), needing('b', 'a'), needing('c', 'b')]);
    expect(issue?.[2]).toMatch(/: a, b, c$/);
    expect(others).toEqual([]);
  });

  it('names each of two cycles', () => {
    const issues = check([needing('a', 'b'), needing('b', 'a'), needing('c', 'd', 'a'), needing('d', 'c')]);
    expect(issues.map(([pointer]) => pointer).sort()).toEqual(['/flags/a/prerequisites', '/flags/c/prerequisites']);
  });

  it('names every segment of a cycle, through groups and negations', () => {
    expect(check([using('s', 't'), using('t', 's')])).toEqual([
      ['/segments/s/rules', 'reference-cycle', 'each segment of these reaches itself: s -> t -> s'],
    ]);
  });

  it('allows 16 edges and refuses 17, for flags and for segments', () => {
    expect(check(chain(16, needing))).toEqual([]);
    expect(check(chain(16, using))).toEqual([]);
    expect(check(chain(17, needing)).map(([pointer, code]) => [pointer, code])).toEqual([
      ['/flags/k0/prerequisites', 'reference-cycle'],
    ]);
    expect(check(chain(17, using)).map(([pointer, code]) => [pointer, code])).toEqual([
      ['/segments/k0/rules', 'reference-cycle'],
    ]);
  });

  it('survives a chain of all flags and a cycle of all flags', () => {
    expect(check(chain(4_999, needing))).toHaveLength(100);
    const ring = [...chain(4_998, needing), needing('k4999', 'k0')];
    expect(check(ring.slice(0, 4_998).concat(needing('k4998', 'k0')))).toHaveLength(1);
  });

  it('takes time in proportion to the references where many flags share prerequisites', () => {
    // A ladder has 2^n paths; walking each would never end.
    const ladder = Array.from({ length: 16 }, (_, level) =>
      ['a', 'b', 'c', 'd'].map((side) =>
        needing(`${side}${level}`, ...(level < 15 ? ['a', 'b', 'c', 'd'].map((other) => `${other}${level + 1}`) : [])),
      ),
    ).flat();
    expect(check(ladder)).toEqual([]);
  });

  it('allows prerequisites and segments that are missing', () => {
    expect(check([needing('a', 'nowhere'), using('s', 'nowhere')])).toEqual([]);
  });

  it('refuses a variation that the prerequisite does not have', () => {
    const flag = aFlag('a', { prerequisites: [{ flag: 'b', variations: ['no', 'maybe'] }] });
    expect(check([flag, aFlag('b')])).toEqual([
      ['/flags/a/prerequisites/0/variations/1', 'dangling-reference', 'the flag b has no variation maybe'],
    ]);
    expect(check([flag, aFlag('b', { requires: ['from-the-future'], variations: [] })])).toEqual([]);
  });
});

describe('findDanglingReferences()', () => {
  it('points at flags, variations and segments that do not exist', () => {
    const definitions = [
      aFlag('a', {
        prerequisites: [
          { flag: 'b', variations: ['maybe'] },
          { flag: 'nowhere', variations: ['x'] },
        ],
        rules: [{ id: 'r', when: { any: [{ not: { segment: ['s', 'gone'] } }] }, serve: { variation: 'no' } }],
      }),
      aFlag('b'),
      using('s', 's2', 's'),
    ];
    const issues = findDanglingReferences(flagSetOf(definitions));
    expect(issues.map(({ pointer, code }) => [pointer, code])).toEqual([
      ['/flags/a/prerequisites/0/variations/0', 'dangling-reference'],
      ['/flags/a/prerequisites/1/flag', 'dangling-reference'],
      ['/flags/a/rules/0/when/any/0/not/segment/1', 'dangling-reference'],
      ['/segments/s/rules/0/when/all/0/not/segment/0', 'dangling-reference'],
    ]);
  });

  it('finds nothing in a whole set', () => {
    expect(findDanglingReferences(flagSetOf([needing('a', 'b'), aFlag('b'), using('s', 't'), aSegment('t')]))).toEqual(
      [],
    );
  });
});

describe('checkFlagSet() segment keys', () => {
  const s = aSegment('s');

  it('refuses a chunk without its segment', () => {
    expect(check([chunkOf('', ['a'])])).toEqual([
      ['/segments/s/included/user/', 'dangling-reference', 'keys of a segment s that does not exist'],
    ]);
  });

  it('refuses a chunk that covers another, and only in the same list', () => {
    const chunks = ['0', '00', '01', '1'].map((prefix) => chunkOf(prefix, keysUnder(prefix, 1)));
    expect(check([s, ...chunks]).map(([pointer]) => pointer)).toEqual(['/segments/s/included/user/00']);
    const apart = [chunkOf('', ['a']), { ...chunkOf('', ['a']), list: 'excluded' as const }];
    expect(check([s, ...apart, { ...chunkOf('', ['a']), contextKind: 'device' }])).toEqual([]);
  });

  it('refuses a key whose hash does not start with the prefix', () => {
    const [a = '', b = ''] = keysUnder('10', 2);
    expect(check([s, chunkOf('10', [a, b])])).toEqual([]);
    expect(check([s, chunkOf('11', [a, b])]).map(([pointer]) => pointer)).toEqual([
      '/segments/s/included/user/11/keys/0',
    ]);
    const whole = hashText(a).toString(2).padStart(32, '0');
    expect(check([s, chunkOf(whole, [a])])).toEqual([]);
    expect(check([s, chunkOf(whole, [b])])).toHaveLength(1);
  });

  it('hashes the keys of changed chunks only, when told which', () => {
    const stray = chunkOf('11', keysUnder('10', 1));
    const flagSet = flagSetOf([s, stray]);
    expect(checkFlagSet(flagSet, new Set())).toEqual([]);
    expect(checkFlagSet(flagSet, new Set([stray]))).toHaveLength(1);
  });

  it('escapes the context kind in pointers', () => {
    const chunk = { ...chunkOf('', ['a']), contextKind: 'a/b' };
    expect(check([chunk])[0]?.[0]).toBe('/segments/s/included/a~1b/');
  });
});

describe('checkFlagSet() limits', () => {
  it('refuses more flags or segments than an environment may have', () => {
    const flags = Array.from({ length: 5_001 }, (_, index) => aFlag(`f${index}`));
    const segments = Array.from({ length: 5_001 }, (_, index) => aSegment(`s${index}`));
    expect(check([...flags.slice(1), ...segments.slice(1)])).toEqual([]);
    expect(check([...flags, ...segments]).map(([pointer, code]) => [pointer, code])).toEqual([
      ['/flags', 'limit-exceeded'],
      ['/segments', 'limit-exceeded'],
    ]);
  });

  it('refuses more keys than a segment may have, over all of its lists', () => {
    const keys = Array.from({ length: 4_096 }, (_, index) => `k${10_000 + index}`);
    const lists = Array.from({ length: 245 }, (_, index) => ({ ...chunkOf('', keys), contextKind: `kind-${index}` }));
    expect(check([aSegment('s'), ...lists.slice(1)])).toEqual([]);
    expect(check([aSegment('s'), ...lists]).map(([pointer, code]) => [pointer, code])).toEqual([
      ['/segments/s', 'limit-exceeded'],
    ]);
  });
});
