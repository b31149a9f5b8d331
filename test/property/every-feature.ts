import { encodeJsonRequest, type FlagSet } from '@guidon/engine';
import type { Operator } from '@guidon/engine/flag-model/definitions.js';
import type { Json } from '@guidon/protocol';
import { aChunk, aFlag, aSegment, flagSetOf } from '../support/flag-sets.js';

/** Values that never hold over the context below, so that evaluation goes on to the next rule. */
const CLAUSES: readonly (readonly [attribute: string, op: Operator, values: Json[]])[] = [
  ['text', 'in', ['x', 'y', 5, false]],
  ['text', 'in', Array.from({ length: 20 }, (_, index) => `value-${index}`)],
  ['text', 'in', ['x']],
  ['text', 'in', ['ax', 'bx', 'cx']],
  ['text', 'startsWith', ['y']],
  ['text', 'endsWith', ['y']],
  ['text', 'startsWith', ['x', 'much longer than sixteen bytes']],
  ['text', 'endsWith', ['much longer than sixteen bytes']],
  ['text', 'contains', ['x', 'ababababababababababx']],
  ['text', 'startsWithIgnoreCase', ['X']],
  ['text', 'endsWithIgnoreCase', ['X']],
  ['text', 'containsIgnoreCase', ['X']],
  ['text', 'matches', ['^x', 'y$']],
  ['/deep/list/1', 'lt', [-5, -4]],
  ['number', 'gte', [100]],
  ['/deep/when', 'before', ['1970-01-01T00:00:00Z', 5]],
  ['@now', 'before', [5]],
  ['@now', 'after', [1_000_000]],
  ['kind', 'in', ['device']],
  ['kind', 'contains', ['device']],
  ['version', 'semverEq', ['9.9.9', '1.2.3-rc.1']],
  ['version', 'semverLt', ['0.0.1']],
  ['version', 'semverLt', ['0.0.1-rc']],
  ['address', 'cidr', ['10.0.0.0/8', '2001:db8::/32']],
  ['numbers', 'lt', [-1]],
  ['absent', 'exists', [true]],
];

/** Every operator, every kind of reference and record, in a few flags that are all evaluated to their end. */
export function everyFeature(): FlagSet {
  const rules = CLAUSES.map(([attribute, op, values], index) => ({
    id: `rule-${index}`,
    when: { any: [{ attribute, op, values }, { all: [{ attribute, op, values }, { segment: ['empty'] }] }] },
    serve: { variation: 'off' },
  }));
  const weights = [
    { variation: 'yes', weight: 50_000 },
    { variation: 'no', weight: 50_000 },
  ];
  const rollout = { bucketBy: 'targetingKey', weights };
  return flagSetOf([
    aFlag('rules', { rules, fallthrough: { rollout } }),
    aFlag('asks', {
      prerequisites: [{ flag: 'rules', variations: ['yes', 'no'] }],
      targets: [{ contextKind: 'user', variation: 'off', keys: ['someone', 'else'] }],
      rules: [
        { id: 'segments', when: { segment: ['listed', 'empty', 'ruled'], negate: true }, serve: { variation: 'off' } },
        {
          id: 'layer',
          when: { all: [] },
          serve: { rollout: { ...rollout, layer: { key: 'layer', from: 0, to: 50_000 } } },
        },
      ],
    }),
    aFlag('static'),
    aSegment('empty'),
    aSegment('listed'),
    aSegment('ruled', {
      rules: [
        { when: { attribute: '@now', op: 'before', values: [5] } },
        { when: { segment: ['listed'] } },
        {
          when: { attribute: 'text', op: 'exists', values: [true] },
          rollout: { bucketBy: 'targetingKey', weight: 99_999 },
        },
      ],
    }),
    aChunk('listed', 'included', ['user-1', 'user-2', 'user-3']),
    aChunk('listed', 'excluded', ['user-4'], 'device'),
  ]);
}

/** Three contexts: one that goes the whole way, one that is listed, one of several kinds. */
export function everyFeatureBody(): Uint8Array {
  const context = {
    targetingKey: 'u',
    text: 'ababababababababababab',
    number: 5,
    numbers: [1, 2, 3],
    version: '1.2.3',
    address: '192.168.0.1',
    deep: { list: [1, 2], when: '2020-01-01T00:00:00Z' },
  };
  const multi = { kind: 'multi', user: context, device: { targetingKey: 'user-4' } };
  const contexts = [context, { ...context, targetingKey: 'user-1' }, multi];
  return encodeJsonRequest({ flags: ['rules', 'asks', 'static'], contexts });
}
