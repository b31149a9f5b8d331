import { parseEnvironmentRef } from '@guidon/protocol';
import {
  type ConfigDecision,
  type ConfigStanding,
  decideConfig,
  type Manifest,
  REVISION_JUMP_MAX,
} from '@guidon/protocol/signed-config';
import { describe, expect, it } from 'vitest';

const NOW = 1_000_000;
const digest = (name: string): string => name.padEnd(64, '0');

function manifest(epoch: number, revision: number, name: string, members: Partial<Manifest> = {}): Manifest {
  return {
    ...parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' }),
    epoch,
    revision,
    previousDigest: '',
    digest: digest(name),
    schema: 1,
    keyId: 'k',
    issuedAt: NOW,
    expiresAt: NOW + 1,
    ...members,
  };
}

const mark = (epoch: number, revision: number, name: string) => ({ epoch, revision, digest: digest(name) });
const standing = (changes: Partial<ConfigStanding> = {}): ConfigStanding => ({
  mark: mark(1, 5, 'a'),
  active: mark(1, 5, 'a'),
  quarantine: [],
  nowMs: NOW,
  ...changes,
});
const delta = (previousRevision: number) => ({ previousRevision, hasDelta: true });
const FIRST = { mark: undefined, active: undefined };

describe('decideConfig()', () => {
  const cases: [string, Manifest, { previousRevision: number; hasDelta: boolean }, ConfigStanding, ConfigDecision][] = [
    ['the next revision', manifest(1, 6, 'b'), delta(5), standing(), { action: 'apply', base: 'active' }],
    ['several revisions at once', manifest(1, 9, 'b'), delta(5), standing(), { action: 'apply', base: 'active' }],
    ['a whole configuration', manifest(1, 9, 'b'), delta(0), standing(), { action: 'apply', base: 'nothing' }],
    ['the first ever', manifest(1, 1, 'b'), delta(0), standing(FIRST), { action: 'apply', base: 'nothing' }],
    [
      'a first delta with nothing to apply it to',
      manifest(1, 3, 'b'),
      delta(2),
      standing(FIRST),
      { action: 'fetch', reason: 'gap' },
    ],
    ['a gap', manifest(1, 8, 'b'), delta(7), standing(), { action: 'fetch', reason: 'gap' }],
    ['a delta from before what serves', manifest(1, 8, 'b'), delta(4), standing(), { action: 'fetch', reason: 'gap' }],
    [
      'a message without its changes',
      manifest(1, 6, 'b'),
      { previousRevision: 5, hasDelta: false },
      standing(),
      { action: 'fetch', reason: 'no-delta' },
    ],
    ['the same again (I7)', manifest(1, 5, 'a'), delta(4), standing(), { action: 'ignore', reason: 'duplicate' }],
    ['an older one (I7)', manifest(1, 4, 'z'), delta(0), standing(), { action: 'ignore', reason: 'older' }],
    [
      'an older epoch with a higher revision (I7)',
      manifest(1, 99, 'z'),
      delta(0),
      standing({ mark: mark(2, 1, 'a'), active: mark(2, 1, 'a') }),
      { action: 'ignore', reason: 'older' },
    ],
    [
      'an older one after a restart that lost the snapshot (I7)',
      manifest(1, 4, 'z'),
      delta(0),
      standing({ active: undefined }),
      { action: 'ignore', reason: 'older' },
    ],
    [
      'the same one after such a restart',
      manifest(1, 5, 'a'),
      delta(0),
      standing({ active: undefined }),
      { action: 'apply', base: 'nothing' },
    ],
    [
      'the same one after such a restart, expired since (I12)',
      manifest(1, 5, 'a', { expiresAt: NOW - 1 }),
      delta(0),
      standing({ active: undefined }),
      { action: 'apply', base: 'nothing' },
    ],
    [
      'the same revision with other content',
      manifest(1, 5, 'b'),
      delta(0),
      standing(),
      { action: 'refuse', reason: 'fork' },
    ],
    [
      'a higher epoch with a lower revision',
      manifest(2, 1, 'b'),
      delta(0),
      standing(),
      { action: 'apply', base: 'nothing' },
    ],
    ['a delta across epochs', manifest(2, 6, 'b'), delta(5), standing(), { action: 'fetch', reason: 'gap' }],
    [
      'an expired new one',
      manifest(1, 6, 'b', { expiresAt: NOW }),
      delta(5),
      standing(),
      { action: 'refuse', reason: 'expired' },
    ],
    [
      'the furthest jump',
      manifest(1, 5 + REVISION_JUMP_MAX, 'b'),
      delta(0),
      standing(),
      { action: 'apply', base: 'nothing' },
    ],
    [
      'a fast-forward',
      manifest(1, 6 + REVISION_JUMP_MAX, 'b'),
      delta(0),
      standing(),
      { action: 'refuse', reason: 'fast-forward' },
    ],
    [
      'a jump in a new epoch',
      manifest(2, 6 + REVISION_JUMP_MAX, 'b'),
      delta(0),
      standing(),
      { action: 'apply', base: 'nothing' },
    ],
    [
      'quarantined content, under its revision (I10)',
      manifest(1, 6, 'q'),
      delta(5),
      standing({ quarantine: [mark(1, 6, 'q')] }),
      { action: 'ignore', reason: 'quarantined' },
    ],
    [
      'quarantined content, under a new revision (I10)',
      manifest(1, 7, 'q'),
      delta(0),
      standing({ quarantine: [mark(1, 6, 'q')] }),
      { action: 'ignore', reason: 'quarantined' },
    ],
    [
      'good content after quarantined content',
      manifest(1, 7, 'b'),
      delta(6),
      standing({ quarantine: [mark(1, 6, 'q')] }),
      { action: 'fetch', reason: 'gap' },
    ],
  ];
  it.each(cases)('%s', (_name, given, message, where, expected) => {
    expect(decideConfig(given, message, where)).toEqual(expected);
  });
});
