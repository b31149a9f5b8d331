import type { FlagDefinition, Prerequisite } from '@guidon/engine';
import { aFlag } from '../../support/flag-sets.js';
import type { VectorCase } from '../../support/vectors.js';
import { fails, serves, table } from './vector-table.js';

const needs = (flag: string, ...variations: string[]): Prerequisite => ({ flag, variations });
/** Serves `yes` to everybody whose prerequisites are met. */
const gated = (key: string, prerequisites: Prerequisite[], changes: Partial<FlagDefinition> = {}): FlagDefinition =>
  aFlag(key, { prerequisites, fallthrough: { variation: 'yes' }, ...changes });

const met = (flag: string) => serves(flag, 'yes', 'DEFAULT');
const unmet = (flag: string, prerequisite?: string) =>
  serves(flag, 'off', 'DISABLED', prerequisite === undefined ? {} : { prerequisite });

const flags: FlagDefinition[] = [
  aFlag('serves-no'),
  aFlag('is-off', { on: false }),
  aFlag('by-rule', {
    rules: [{ id: 'r', when: { attribute: 'a', op: 'exists', values: [true] }, serve: { variation: 'yes' } }],
  }),
  aFlag('by-key', { fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }] } } }),
  aFlag('future', { requires: ['from-the-future'] }),
  aFlag('future-off', { on: false, requires: ['from-the-future'] }),
  aFlag('visible', { clientSide: true }),
  gated('ok', [needs('serves-no', 'no')]),
  gated('ok-of-two', [needs('serves-no', 'yes', 'no')]),
  gated('other-variation', [needs('serves-no', 'yes')]),
  gated('off', [needs('is-off', 'off', 'no', 'yes')]),
  gated('missing', [needs('nowhere', 'yes')]),
  gated('first-fails', [needs('is-off', 'off'), needs('nowhere', 'x')]),
  gated('second-fails', [needs('serves-no', 'no'), needs('nowhere', 'x')]),
  gated('both-ok', [needs('serves-no', 'no'), needs('by-rule', 'yes')]),
  gated('twice', [needs('by-rule', 'yes', 'no'), needs('by-rule', 'yes')]),
  gated('no-key', [needs('by-key', 'yes', 'no', 'off')]),
  gated('passes-up', [needs('future', 'no')]),
  gated('passes-up-off', [needs('future-off', 'off')]),
  gated('passes-up-twice', [needs('passes-up', 'yes', 'off')]),
  gated('passes-up-not', [needs('is-off', 'off'), needs('future', 'no')]),
  // An on flag serves its off variation through a failed prerequisite, and does serve it.
  gated('serves-off', [needs('missing', 'off')]),
  gated('serves-off-not', [needs('missing', 'yes')]),
  gated('off-beats-prerequisites', [needs('future', 'no')], { on: false }),
  gated('then-target', [needs('serves-no', 'no')], {
    targets: [{ contextKind: 'user', variation: 'no', keys: ['u'] }],
  }),
  gated('before-target', [needs('serves-no', 'yes')], {
    targets: [{ contextKind: 'user', variation: 'no', keys: ['u'] }],
  }),
  gated('web-hidden', [needs('other-variation', 'yes')], { clientSide: true }),
  gated('web-visible', [needs('visible', 'yes')], { clientSide: true }),
  gated('web-met', [needs('serves-no', 'no')], { clientSide: true }),
  gated('web-missing', [needs('nowhere', 'yes')], { clientSide: true }),
  gated('web-future', [needs('future', 'no')], { clientSide: true }),
  ...Array.from({ length: 17 }, (_, index) =>
    index === 16 ? gated('chain-16', []) : gated(`chain-${index}`, [needs(`chain-${index + 1}`, 'yes')]),
  ),
  gated('diamond', [needs('left', 'yes'), needs('right', 'yes')]),
  gated('left', [needs('by-rule', 'yes')]),
  gated('right', [needs('by-rule', 'yes')]),
];

const row = (flag: string, name: string, context: unknown, expected: VectorCase['expected']): VectorCase => ({
  name: `${flag}: ${name}`,
  flag,
  context,
  expected,
});

const cases: VectorCase[] = [
  row('ok', 'serves a listed variation', {}, met('ok')),
  row('ok-of-two', 'serves the second of the listed', {}, met('ok-of-two')),
  row('other-variation', 'serves another', {}, unmet('other-variation', 'serves-no')),
  row('off', 'is off, though its off variation is listed', {}, unmet('off', 'is-off')),
  row('missing', 'does not exist', {}, unmet('missing', 'nowhere')),
  row('first-fails', 'names the first that fails', {}, unmet('first-fails', 'is-off')),
  row('second-fails', 'names the one that fails', {}, unmet('second-fails', 'nowhere')),
  row('both-ok', 'both met', { a: 1 }, met('both-ok')),
  row('both-ok', 'the second is not', {}, unmet('both-ok', 'by-rule')),
  row('twice', 'the same flag twice, both met', { a: 1 }, met('twice')),
  row('twice', 'the same flag twice, the second not', {}, unmet('twice', 'by-rule')),
  row('no-key', 'TARGETING_KEY_MISSING serves nothing', {}, unmet('no-key', 'by-key')),
  row('no-key', 'with a key', { targetingKey: 'u' }, met('no-key')),
  row('passes-up', 'PARSE_ERROR passes up', {}, fails('passes-up', 'PARSE_ERROR')),
  row('passes-up-off', 'also of a flag that is off', {}, fails('passes-up-off', 'PARSE_ERROR')),
  row('passes-up-twice', 'through two flags', {}, fails('passes-up-twice', 'PARSE_ERROR')),
  row('passes-up-not', 'not reached', {}, unmet('passes-up-not', 'is-off')),
  row('serves-off', 'the off variation of an on flag counts', {}, met('serves-off')),
  row('serves-off-not', 'names its own entry, not the one below', {}, unmet('serves-off-not', 'missing')),
  row('off-beats-prerequisites', 'off comes first', {}, serves('off-beats-prerequisites', 'off', 'DISABLED')),
  row('then-target', 'targets come after', { targetingKey: 'u' }, serves('then-target', 'no', 'TARGETING_MATCH')),
  row('before-target', 'and not before', { targetingKey: 'u' }, unmet('before-target', 'serves-no')),
  row('future', 'requires what no evaluator has', {}, fails('future', 'PARSE_ERROR')),
  row('future-off', 'also when off', {}, fails('future-off', 'PARSE_ERROR')),
  row('chain-0', 'sixteen edges', {}, met('chain-0')),
  row('chain-16', 'the last of the chain', {}, serves('chain-16', 'yes', 'STATIC')),
  row('diamond', 'a shared prerequisite, met', { a: 1 }, met('diamond')),
  row('diamond', 'a shared prerequisite, not met', {}, unmet('diamond', 'left')),
];

const webRow = (flag: string, name: string, expected: VectorCase['expected']): VectorCase => ({
  name: `web ${flag}: ${name}`,
  flag,
  context: {},
  clientSideOnly: true,
  expected,
});

const webCases: VectorCase[] = [
  webRow('visible', 'a visible flag', serves('visible', 'no', 'STATIC')),
  webRow('serves-no', 'another is unknown', fails('serves-no', 'FLAG_NOT_FOUND')),
  webRow('is-off', 'also when off', fails('is-off', 'FLAG_NOT_FOUND')),
  webRow('future', 'also when it cannot be served', fails('future', 'FLAG_NOT_FOUND')),
  webRow('nowhere', 'as one that does not exist', fails('nowhere', 'FLAG_NOT_FOUND')),
  webRow('web-hidden', 'the name of an invisible prerequisite is left out', unmet('web-hidden')),
  webRow('web-visible', 'that of a visible one is not', unmet('web-visible', 'visible')),
  webRow('web-met', 'an invisible prerequisite is found', met('web-met')),
  webRow('web-missing', 'a missing one is not visible', unmet('web-missing')),
  webRow('web-future', 'PARSE_ERROR passes up', fails('web-future', 'PARSE_ERROR')),
];

export const PREREQUISITE_TABLES = [
  table('prerequisites', 'Prerequisites: met, failed, off, missing, in error; what a web credential sees.', {
    flags,
    cases: [
      ...cases,
      ...webCases,
      row('web-hidden', 'a server credential sees the name', {}, unmet('web-hidden', 'other-variation')),
      row('web-missing', 'a server credential sees the name', {}, unmet('web-missing', 'nowhere')),
    ],
  }),
];
