import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeDefinition } from '@guidon/engine';
import { configTextOf } from '@guidon/protocol/live-updates';
import {
  type ConfigMessage,
  DigestTree,
  generateSigningKey,
  hashDefinition,
  keySetTextOf,
  type Signed,
  signDocument,
} from '@guidon/protocol/signed-config';
import { changedFlags } from '@guidon/server-sdk/changed-flags.js';
import { ConfigInForce } from '@guidon/server-sdk/config-in-force.js';
import { DefinitionSet } from '@guidon/server-sdk/definition-set.js';
import { DiskCopy } from '@guidon/server-sdk/disk-copy.js';
import { isSignedByRemembered } from '@guidon/server-sdk/remembered-signatures.js';
import { decodeFrame } from '@guidon/server-sdk/shared-frames.js';
import { Trust } from '@guidon/server-sdk/trust.js';
import { WeakTable } from '@guidon/server-sdk/weak-table.js';
import { beforeEach, describe, expect, test } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';
import { type FeedEnvironment, SignedFeedServer } from '../../../support/signed-feed-server.js';

/** Clients of one thread share what is the same for all of them, and nothing of what each of them decides for itself. */

let feed: SignedFeedServer;
let environment: FeedEnvironment;

beforeEach(async () => {
  feed = new SignedFeedServer();
  environment = feed.addEnvironment('own');
  await environment.publish([flagOf('one'), aFlag('stays')]);
});

const flagOf = (value: string, key = 'flag') =>
  aFlag(key, {
    type: 'string',
    on: true,
    variations: [
      { key: 'on', value },
      { key: 'off', value: 'off' },
    ],
    offVariation: 'off',
    prerequisites: [],
    targets: [],
    rules: [],
    fallthrough: { variation: 'on' },
  });

interface ClientOptions {
  readonly trustRoot?: string;
  readonly environmentId?: string;
  readonly keysOf?: SignedFeedServer;
  readonly folder?: string;
}

function clientOf(options: ClientOptions = {}): ConfigInForce {
  const { trustRoot = feed.trustRoot, environmentId, keysOf = feed, folder } = options;
  const warn = () => undefined;
  const fetchKeySet = async () => keySetTextOf(keysOf.root.publicKey, keysOf.keySet());
  const trust = new Trust({ trustRoot, environmentId, fetchKeySet, warn });
  const disk = folder === undefined ? undefined : new DiskCopy(folder, 'credential');
  return new ConfigInForce({ trust, disk, onActivated: () => undefined, warn });
}

/** As it comes over a stream, so that each client is handed what all of them are. */
function asFrame(message: ConfigMessage): ConfigMessage {
  const frame = { type: 'patch', epoch: 1, revision: 1, ...configTextOf(message) };
  const decoded = decodeFrame(Buffer.from(JSON.stringify(frame)));
  if (!('config' in decoded)) throw new Error('it is no config');
  return decoded.config;
}

const servedValue = (client: ConfigInForce): unknown => {
  const result = client.serving?.evaluator.evaluate('flag', { targetingKey: 'u' }, { now: 0 });
  return result?.reason === 'ERROR' ? result.errorCode : result?.value;
};

describe('clients of one thread', () => {
  test('evaluate the same objects, also when one has come another way', async () => {
    const [streamed, polled, late] = [clientOf(), clientOf(), clientOf()];
    for (const client of [streamed, polled]) await client.receive(asFrame(environment.message(0)));
    expect(polled.serving?.evaluator).toBe(streamed.serving?.evaluator);
    const change = await environment.publish([flagOf('two')]);
    expect(await streamed.receive(asFrame(change))).toBe('activated');
    expect(await polled.receive(asFrame(environment.message(1)))).toBe('activated');
    expect(await late.receive(environment.message(0))).toBe('activated');
    for (const client of [polled, late]) {
      expect(client.serving?.flagSet).toBe(streamed.serving?.flagSet);
      expect(client.serving?.evaluator).toBe(streamed.serving?.evaluator);
      expect(servedValue(client)).toBe('two');
    }
  });

  test('a definition is the same object in any set, so that a listener hears of no more than has changed', async () => {
    const [client, behind] = [clientOf(), clientOf()];
    await client.receive(environment.message(0));
    await behind.receive(environment.message(0));
    const before = behind.serving?.flagSet;
    await environment.publish([flagOf('two')]);
    await environment.publish([flagOf('three')]);
    expect(await client.receive(environment.message(0))).toBe('activated');
    expect(await behind.receive(environment.message(1))).toBe('activated');
    const after = behind.serving?.flagSet;
    if (after === undefined) throw new Error('nothing serves');
    expect([...changedFlags(before, after)]).toEqual(['flag']);
    expect([...changedFlags(before, after)]).toEqual(['flag']);
    // The same later one beside another earlier one.
    expect([...changedFlags(undefined, after)].sort()).toEqual(['flag', 'stays']);
    expect([...changedFlags(after, after)]).toEqual([]);
  });

  test('environments that hold the same definitions are told apart', async () => {
    const other = feed.addEnvironment('other');
    await other.publish([flagOf('one'), aFlag('stays')]);
    const [own, theirs] = [clientOf(), clientOf()];
    await own.receive(environment.message(0));
    await theirs.receive(other.message(0));
    expect(theirs.serving?.evaluator).toBe(own.serving?.evaluator);
    expect(own.serving?.flagMetadata.flagSetId).toBe(environment.ref.environmentId);
    expect(theirs.serving?.flagMetadata.flagSetId).toBe(other.ref.environmentId);
    const change = await environment.publish([flagOf('two')]);
    expect(await own.receive(asFrame(change))).toBe('activated');
    expect(await theirs.receive(asFrame(change))).toBe('refused');
    expect(servedValue(theirs)).toBe('one');
  });
});

/** One client has taken the frame, so everything about it is remembered; each of the others still decides for itself. */
describe('what one client has taken is', () => {
  let taken: ConfigMessage;
  let first: ConfigInForce;
  beforeEach(async () => {
    first = clientOf();
    await first.receive(asFrame(environment.message(0)));
    taken = asFrame(await environment.publish([flagOf('two')]));
  });
  const takenByFirst = async () => expect(await first.receive(taken)).toBe('activated');

  test('refused by one with another trust root', async () => {
    await takenByFirst();
    const stranger = new SignedFeedServer();
    const whole = asFrame(environment.message(0));
    expect(await first.receive(whole)).toBe('ignored');
    expect(await clientOf({ trustRoot: stranger.trustRoot }).receive(whole)).toBe('refused');
    expect(await clientOf({ trustRoot: stranger.trustRoot, keysOf: stranger }).receive(whole)).toBe('refused');
    expect(await clientOf().receive(whole)).toBe('activated');
  });

  test('refused by one that is pinned to another environment', async () => {
    await takenByFirst();
    const whole = asFrame(environment.message(0));
    expect(await clientOf({ environmentId: 'another' }).receive(whole)).toBe('refused');
    expect(await clientOf({ environmentId: environment.ref.environmentId }).receive(whole)).toBe('activated');
  });

  test('ignored by one that is further (rollback, I7)', async () => {
    await takenByFirst();
    const further = clientOf();
    await environment.publish([flagOf('three')]);
    const newest = asFrame(environment.message(0));
    expect(await further.receive(newest)).toBe('activated');
    expect(await further.receive(taken)).toBe('ignored');
    expect(servedValue(further)).toBe('three');
    expect(servedValue(first)).toBe('two');
  });

  test('of no use to one that has something else to apply it to', async () => {
    const behind = clientOf();
    const early = asFrame(environment.message(0, environment.sign({ revision: 1 })));
    await takenByFirst();
    await environment.publish([flagOf('three')]);
    const third = asFrame(environment.message(2));
    expect(await first.receive(third)).toBe('activated');
    expect(await behind.receive(third)).toBe('fetch-whole');
    expect(await behind.receive(early)).toBe('activated');
    expect(await behind.receive(third)).toBe('fetch-whole');
  });

  test('kept on the disk of each, which a restart begins from', async () => {
    const folders = [mkdtempSync(join(tmpdir(), 'guidon-sdk-')), mkdtempSync(join(tmpdir(), 'guidon-sdk-'))];
    await takenByFirst();
    const whole = asFrame(environment.message(0));
    for (const folder of folders) expect(await clientOf({ folder }).receive(whole)).toBe('activated');
    for (const folder of folders) {
      const restarted = clientOf({ folder });
      expect(restarted.restore()).toBe(true);
      expect(servedValue(restarted)).toBe('two');
      rmSync(folder, { recursive: true });
    }
  });

  test('refused by one whose keys do not name the signer any more', async () => {
    await takenByFirst();
    const whole = asFrame(environment.message(0));
    feed.rotateSigningKey();
    expect(await clientOf().receive(whole)).toBe('refused');
  });

  test('not taken once it is changed: manifest, signature or definitions', async () => {
    await takenByFirst();
    const whole = environment.message(0);
    const changes: ((signed: Signed) => Signed)[] = [
      ({ document, signature }) => ({ document, signature: flipped(signature, 7) }),
      ({ document, signature }) => ({ document: flipped(document, document.length - 4), signature }),
      ({ document }) => ({ document, signature: new Uint8Array(64) }),
      ({ document }) => signDocument(document, generateSigningKey()),
    ];
    for (const change of changes) {
      const forged = { ...whole, signed: change(whole.signed) };
      expect(await clientOf().receive(forged)).toBe('refused');
    }
    const definitions = whole.delta?.changed ?? [];
    for (const changed of [
      [],
      definitions.slice(1),
      definitions.map((bytes) => flipped(bytes, bytes.length - 3)),
      [Buffer.concat(definitions)],
    ]) {
      const forged = { ...whole, delta: { changed, removed: [] } };
      expect(await clientOf().receive(forged)).toBe('refused');
    }
    expect(await clientOf().receive(whole)).toBe('activated');
  });
});

describe('DefinitionSet.next()', () => {
  const bytesOf = (value: string) => Buffer.from(encodeDefinition(flagOf(value)));
  const digestOf = (bytes: Uint8Array): string => {
    const tree = new DigestTree();
    tree.set('flag', 'flag', hashDefinition(bytes));
    return tree.digest();
  };

  test('gives another digest’s set to nobody, whatever was made before', () => {
    const [one, two] = [bytesOf('one'), bytesOf('two')];
    const set = DefinitionSet.EMPTY.next({ changed: [one], removed: [] }, digestOf(one), true);
    expect(() => DefinitionSet.EMPTY.next({ changed: [one], removed: [] }, digestOf(two), true)).toThrow(/manifest/);
    expect(() => DefinitionSet.EMPTY.next({ changed: [two], removed: [] }, digestOf(one), true)).toThrow(/manifest/);
    expect(() => set.next({ changed: [], removed: [['flag', 'flag']] }, digestOf(one), false)).toThrow(/manifest/);
    expect(DefinitionSet.EMPTY.next({ changed: [one], removed: [] }, digestOf(one), true)).toBe(set);
    expect(set.next({ changed: [], removed: [] }, digestOf(one), false)).toBe(set);
    const removal = { changed: [], removed: [['flag', 'flag']] } as const;
    expect(set.next(removal, DefinitionSet.EMPTY.digest, false).flagSet.flags.size).toBe(0);
    const more = Buffer.from(encodeDefinition(flagOf('more', 'more')));
    const tree = new DigestTree();
    for (const [key, bytes] of [
      ['flag', one],
      ['more', more],
    ] as const)
      tree.set('flag', key, hashDefinition(bytes));
    const both = set.next({ changed: [more], removed: [] }, tree.digest(), false);
    // The same change of another set.
    expect(() => both.next(removal, DefinitionSet.EMPTY.digest, false)).toThrow(/manifest/);
  });
});

test('isSignedByRemembered() says what isSignedBy() does, the first time and again, and forgets the oldest', () => {
  const [own, other] = [generateSigningKey(), generateSigningKey()];
  const signed = signDocument(Buffer.from('document'), own);
  const check = () => {
    expect(isSignedByRemembered(signed, own.publicKey)).toBe(true);
    expect(isSignedByRemembered(signed, other.publicKey)).toBe(false);
    expect(isSignedByRemembered({ ...signed, document: Buffer.from('documenT') }, own.publicKey)).toBe(false);
    expect(isSignedByRemembered({ ...signed, signature: signed.signature.subarray(1) }, own.publicKey)).toBe(false);
    // The border between signature and document is no place to hide.
    const joined = Buffer.concat([signed.signature, signed.document]);
    const moved = { signature: joined.subarray(0, 63), document: joined.subarray(63) };
    expect(isSignedByRemembered(moved, own.publicKey)).toBe(false);
  };
  check();
  check();
  for (let index = 0; index < 300; index += 1)
    expect(isSignedByRemembered(signDocument(Buffer.from(`${index}`), own), own.publicKey)).toBe(true);
  check();
});

test('decodeFrame() decodes anew what differs by one byte, and what is no message throws each time', () => {
  const frame = (revision: number) =>
    Buffer.from(JSON.stringify({ type: 'put', epoch: 1, revision, removed: [], results: [{ flag: 'x'.repeat(300) }] }));
  const message = decodeFrame(frame(1));
  expect(decodeFrame(frame(1))).toBe(message);
  expect(decodeFrame(frame(2))).toMatchObject({ revision: 2 });
  const broken = Buffer.from(`${'{"type":"put"'.padEnd(400)}}`);
  for (let count = 0; count < 2; count += 1) expect(() => decodeFrame(broken)).toThrow(/epoch/);
  const beat = Buffer.from('{"type":"heartbeat","epoch":1,"revision":2}');
  expect(decodeFrame(beat)).toEqual({ type: 'heartbeat', epoch: 1, revision: 2 });
});

test('WeakTable keeps nothing alive, and forgets the names of what is gone', async () => {
  const table = new WeakTable<{ bytes: Uint8Array }>();
  const held = { bytes: new Uint8Array(1) };
  table.add('held', held);
  for (let index = 0; index < 2_000; index += 1) table.add(`loose ${index}`, { bytes: new Uint8Array(64 * 1024) });
  table.add('replaced', { bytes: new Uint8Array(1) });
  table.add('replaced', held);
  // Only a collector that never runs would let this wait: what it has to give back is allocated again and again.
  const deadlineMs = performance.now() + 30_000;
  while (table.count > 1_000 && performance.now() < deadlineMs) {
    Array.from({ length: 500 }, () => new Uint8Array(64 * 1024).fill(1));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(table.count).toBeLessThanOrEqual(1_000);
  expect(table.find('held')).toBe(held);
  expect(table.find('replaced')).toBe(held);
  expect(table.find('none')).toBeUndefined();
});

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
