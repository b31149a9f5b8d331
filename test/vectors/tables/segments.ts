import type { Condition, SegmentKeysDefinition } from '@guidon/engine';
import { aChunk, aFlag, aSegment } from '../../support/flag-sets.js';
import type { VectorCase } from '../../support/vectors.js';
import { fails, no, ruleWhen, table, yes } from './vector-table.js';

const beta: Condition = { attribute: 'beta', op: 'in', values: [true] };
const inSegment = (key: string) => aFlag(key, ruleWhen({ segment: [key] }));
const notInSegment = (key: string) => aFlag(`${key}.not`, ruleWhen({ segment: [key], negate: true }));

/** Whether the context is in the segment of the flag's name; asked of the plain and of the negated flag. */
type Row = readonly [segment: string, name: string, context: unknown, isMember: boolean];

const rows: readonly Row[] = [
  ['listed', 'an included key', { targetingKey: 'user-1' }, true],
  ['listed', 'the last included key', { targetingKey: '🌍' }, true],
  ['listed', 'another key', { targetingKey: 'user-10' }, false],
  ['listed', 'another case', { targetingKey: 'USER-1' }, false],
  ['listed', 'no key', {}, false],
  ['listed', 'an empty key', { targetingKey: '' }, false],
  ['listed', 'an integer equals no entry', { targetingKey: 42 }, false],
  ['listed', 'its decimals do', { targetingKey: '42' }, true],
  ['listed', 'a lone surrogate is U+FFFD', { targetingKey: '\udc00' }, true],
  ['listed', 'another kind with that key', { kind: 'organization', targetingKey: 'user-1' }, false],
  ['listed', 'in a multi context', { kind: 'multi', user: { targetingKey: 'user-1' } }, true],
  ['both', 'included wins over excluded', { targetingKey: 'both', beta: true }, true],
  ['both', 'excluded wins over rules', { targetingKey: 'excluded', beta: true }, false],
  ['both', 'rules for the rest', { targetingKey: 'other', beta: true }, true],
  ['both', 'and not', { targetingKey: 'other', beta: false }, false],
  ['both', 'included without the rule', { targetingKey: 'included' }, true],
  ['kinds', 'the list of one kind', { kind: 'organization', targetingKey: 'acme' }, true],
  ['kinds', 'is not that of another', { targetingKey: 'acme' }, false],
  ['kinds', 'either list', { kind: 'multi', user: { targetingKey: 'u' }, organization: { targetingKey: 'x' } }, true],
  [
    'kinds',
    'one kind excluded',
    { kind: 'multi', user: { targetingKey: 'banned', beta: true }, organization: { targetingKey: 'x' } },
    false,
  ],
  [
    'kinds',
    'one kind excluded, another included',
    { kind: 'multi', user: { targetingKey: 'banned' }, organization: { targetingKey: 'acme' } },
    true,
  ],
  ['chunked', 'prefix 00', { targetingKey: 'user-3' }, true],
  ['chunked', 'prefix 01', { targetingKey: 'user-7' }, true],
  ['chunked', 'prefix 1', { targetingKey: 'user-1' }, true],
  ['chunked', 'the same chunk, another key', { targetingKey: 'user-2' }, false],
  ['chunked', 'excluded, in a chunk of its own', { targetingKey: 'user-6', beta: true }, false],
  ['chunked', 'neither', { targetingKey: 'user-9', beta: true }, true],
  ['any-rule', 'the first rule', { a: 1 }, true],
  ['any-rule', 'the last rule', { c: 1 }, true],
  ['any-rule', 'none', {}, false],
  ['no-rules', 'nobody', { targetingKey: 'user-1' }, false],
  // Buckets under seg-salt, from an independent murmur3.
  ['half', 'bucket 0', { targetingKey: 'user-132297' }, true],
  ['half', 'bucket 21 006', { targetingKey: 'user-1' }, true],
  ['half', 'bucket 52 318', { targetingKey: 'user-71140' }, false],
  ['half', 'bucket 99 999', { targetingKey: 'user-207776' }, false],
  ['half', 'no key: the rule does not hold', {}, false],
  ['half', 'no key, but the next rule', { beta: true }, true],
  ['border', 'bucket 21 006 is not below 21 006', { targetingKey: 'user-1' }, false],
  ['border', 'bucket 0', { targetingKey: 'user-132297' }, true],
  ['none-in', 'bucket 0 is not below 0', { targetingKey: 'user-132297' }, false],
  ['all-in', 'bucket 99 999', { targetingKey: 'user-207776' }, true],
  ['all-in', 'no key', {}, false],
  ['by-company', 'bucket 21 006', { kind: 'organization', company: 'user-1' }, true],
  ['by-company', 'bucket 73 754', { kind: 'organization', company: 'acme' }, false],
  ['by-company', 'no company', { kind: 'organization', targetingKey: 'acme' }, false],
  ['by-company', 'a fraction', { kind: 'organization', company: 0.5 }, false],
  ['by-company', 'bucket 46 097, empty is a value', { kind: 'organization', company: '' }, false],
  ['nested', 'by the inner rule', { beta: true }, true],
  ['nested', 'by the inner list', { targetingKey: 'user-1' }, true],
  ['nested', 'neither', {}, false],
  ['nested-not', 'inverted', {}, true],
  ['nested-not', 'inverted, a member', { targetingKey: 'user-1' }, false],
  ['depth-16', 'sixteen segments below the first', { beta: true }, true],
  ['depth-16', 'and not', {}, false],
];

const chain = Array.from({ length: 17 }, (_, index) =>
  aSegment(index === 0 ? 'depth-16' : `below-${index}`, {
    rules: [{ when: index === 16 ? beta : { segment: [`below-${index + 1}`] } }],
  }),
);

const segments = [
  aSegment('listed'),
  aSegment('both', { rules: [{ when: beta }] }),
  aSegment('kinds', { rules: [{ when: beta }] }),
  aSegment('chunked', { rules: [{ when: beta }] }),
  aSegment('any-rule', {
    rules: ['a', 'b', 'c'].map((attribute) => ({ when: { attribute, op: 'exists', values: [true] } })),
  }),
  aSegment('no-rules'),
  aSegment('half', { rules: [{ when: { all: [] }, rollout: { weight: 50_000 } }, { when: beta }] }),
  aSegment('border', { rules: [{ when: { all: [] }, rollout: { weight: 21_006 } }] }),
  aSegment('none-in', { rules: [{ when: { all: [] }, rollout: { weight: 0 } }] }),
  aSegment('all-in', { rules: [{ when: { all: [] }, rollout: { weight: 100_000 } }] }),
  aSegment('by-company', {
    rules: [{ when: { all: [] }, rollout: { contextKind: 'organization', bucketBy: 'company', weight: 46_097 } }],
  }),
  aSegment('nested', { rules: [{ when: beta }, { when: { segment: ['no-rules', 'listed'] } }] }),
  aSegment('nested-not', { rules: [{ when: { segment: ['listed'], negate: true } }] }),
  ...chain,
];

const byPrefix = (list: 'included' | 'excluded', prefix: string, keys: readonly string[]): SegmentKeysDefinition => ({
  ...aChunk('chunked', list, keys),
  prefix,
});

const segmentKeys = [
  aChunk('listed', 'included', ['42', 'user-1', 'ключ', '\ufffd', '🌍']),
  aChunk('both', 'included', ['both', 'included']),
  aChunk('both', 'excluded', ['both', 'excluded']),
  aChunk('kinds', 'included', ['acme'], 'organization'),
  aChunk('kinds', 'included', ['u']),
  aChunk('kinds', 'excluded', ['banned']),
  byPrefix('included', '00', ['user-13', 'user-3']),
  byPrefix('included', '01', ['user-7']),
  byPrefix('included', '1', ['user-1', 'user-4']),
  byPrefix('excluded', '10', ['user-6']),
];

const membershipCases: VectorCase[] = rows.flatMap(([segment, name, context, isMember]) => [
  { name: `${segment}: ${name}`, flag: segment, context, expected: isMember ? yes(segment) : no(segment) },
  {
    name: `${segment}.not: ${name}`,
    flag: `${segment}.not`,
    context,
    expected: isMember ? no(`${segment}.not`) : yes(`${segment}.not`),
  },
]);

const named = [...new Set(rows.map(([segment]) => segment))];

export const SEGMENT_TABLES = [
  table('segments', 'Membership: lists, exclusions, rules, rollouts, nesting; negate inverts always.', {
    flags: [...named.map(inSegment), ...named.map(notInSegment)],
    segments,
    segmentKeys,
    cases: membershipCases,
  }),
  table('segment-clauses', 'Lists of segments, missing ones, and ones that this evaluator cannot serve.', {
    flags: [
      aFlag('none', ruleWhen({ segment: [] })),
      aFlag('none.not', ruleWhen({ segment: [], negate: true })),
      aFlag('missing', ruleWhen({ segment: ['nowhere'] })),
      aFlag('missing.not', ruleWhen({ segment: ['nowhere'], negate: true })),
      aFlag('any', ruleWhen({ segment: ['nowhere', 'a', 'b'] })),
      aFlag('future', ruleWhen({ segment: ['future'] })),
      aFlag('future-after', ruleWhen({ segment: ['a', 'future'] })),
      aFlag('future-in-any', ruleWhen({ any: [{ segment: ['a'] }, { segment: ['future'] }] })),
      aFlag('future-below', ruleWhen({ not: { segment: ['above-future'] } })),
      aFlag('future-unreached', ruleWhen({ all: [{ any: [] }, { segment: ['future'] }] })),
    ],
    segments: [
      aSegment('a', { rules: [{ when: { attribute: 'a', op: 'exists', values: [true] } }] }),
      aSegment('b', { rules: [{ when: { attribute: 'b', op: 'exists', values: [true] } }] }),
      aSegment('future', { requires: ['from-the-future'] }),
      aSegment('above-future', { rules: [{ when: { segment: ['future'] } }] }),
    ],
    segmentKeys: [aChunk('future', 'included', ['user-1'])],
    cases: [
      { name: 'in none of no segments', flag: 'none', context: { a: 1 }, expected: no('none') },
      { name: 'negated', flag: 'none.not', context: {}, expected: yes('none.not') },
      { name: 'a missing segment has no members', flag: 'missing', context: { a: 1 }, expected: no('missing') },
      { name: 'negated missing', flag: 'missing.not', context: {}, expected: yes('missing.not') },
      { name: 'any: the middle one', flag: 'any', context: { a: 1 }, expected: yes('any') },
      { name: 'any: the last one', flag: 'any', context: { b: 1 }, expected: yes('any') },
      { name: 'any: none', flag: 'any', context: {}, expected: no('any') },
      { name: 'future', flag: 'future', context: { targetingKey: 'user-1' }, expected: fails('future', 'PARSE_ERROR') },
      { name: 'looked into', flag: 'future-after', context: {}, expected: fails('future-after', 'PARSE_ERROR') },
      { name: 'not looked into', flag: 'future-after', context: { a: 1 }, expected: yes('future-after') },
      { name: 'any stops before', flag: 'future-in-any', context: { a: 1 }, expected: yes('future-in-any') },
      { name: 'any goes on', flag: 'future-in-any', context: {}, expected: fails('future-in-any', 'PARSE_ERROR') },
      { name: 'through a segment', flag: 'future-below', context: {}, expected: fails('future-below', 'PARSE_ERROR') },
      { name: 'all stops before', flag: 'future-unreached', context: {}, expected: no('future-unreached') },
    ],
  }),
];
