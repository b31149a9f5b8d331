import { decodeDefinition, definitionKey } from '@guidon/engine';
import {
  type BusStatus,
  type BusSubscriber,
  type ChangeBus,
  type EnvironmentRef,
  findSubject,
  InProcessChangeBus,
  parseEnvironmentRef,
} from '@guidon/protocol';
import { decodeConfigMessage, decodeSigned } from '@guidon/protocol/msgpack';
import {
  BUS_MESSAGE_BYTES_MAX,
  bucketOfEnvironment,
  type ConfigMessage,
  DigestTree,
  hashDefinition,
  TrustedKeys,
} from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let node: string;
let bus: RecordingBus;
let trusted: TrustedKeys;
let dev: EnvironmentRef;

beforeAll(async () => {
  bus = new RecordingBus();
  plane = await TestControlPlane.start({ bus });
  acme = await plane.seed();
  node = await plane.running.issueNodeCredential('node');
  const keySet = decodeSigned((await asNode('/internal/v1/key-set')).bytes);
  trusted = new TrustedKeys(String(keySet.extra.get('rootPublicKey')), plane.running.trustRoot);
  trusted.acceptKeySet(keySet.signed);
  dev = await stateOf(acme.dev.id);
});
afterAll(async () => {
  await plane.dispose();
  await bus.close();
});

/** Keeps what was published and can refuse; a message it refused was not taken. */
class RecordingBus implements ChangeBus {
  readonly #inner = new InProcessChangeBus();
  readonly published: { topic: string | undefined; environmentId: string | undefined; message: Uint8Array }[] = [];
  isRefusing = false;
  /** Takes messages and answers when it is told to. */
  isHolding = false;
  readonly waiting: (() => void)[] = [];
  attempts = 0;

  async publish(subject: string, message: Uint8Array, messageId: string): Promise<void> {
    this.attempts += 1;
    if (this.isRefusing) throw new Error('the bus is away');
    const found = findSubject(subject);
    this.published.push({ topic: found?.topic, environmentId: found?.environmentId, message });
    await this.#inner.publish(subject, message, messageId);
    if (this.isHolding) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
  subscribe = (subscriber: BusSubscriber): (() => void) => this.#inner.subscribe(subscriber);
  onLost = (): void => {};
  status = (): BusStatus => ({ ...this.#inner.status(), isConnected: !this.isRefusing });
  close = (): Promise<void> => this.#inner.close();
  configOf(environmentId: string): ConfigMessage[] {
    return this.published
      .filter((entry) => entry.topic === 'config' && entry.environmentId === environmentId)
      .map(({ message }) => decodeConfigMessage(message));
  }
}

const asNode = (path: string, headers: Record<string, string> = {}) =>
  plane.call('GET', path, { token: node, headers });

async function stateOf(environmentId: string): Promise<EnvironmentRef & { revision: number; accessSequence: number }> {
  const bucket = bucketOfEnvironment(environmentId).toString(16).padStart(2, '0');
  const { body } = await asNode(`/internal/v1/digests?buckets=${bucket}`);
  const state = body.environments.find((entry: { environmentId: string }) => entry.environmentId === environmentId);
  return { ...parseEnvironmentRef(state), revision: state.revision, accessSequence: state.accessSequence };
}

async function configSince(since?: number): Promise<ConfigMessage> {
  const query = since === undefined ? '' : `?since=${since}`;
  const answer = await asNode(`/internal/v1/environments/${acme.dev.id}/config${query}`);
  expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/msgpack']);
  return decodeConfigMessage(answer.bytes);
}

/** What a node does with a message: apply it to what it has and compare the digest with the signed one. */
function applyConfig(base: Map<string, Uint8Array>, message: ConfigMessage): Map<string, Uint8Array> {
  const entries = new Map(message.previousRevision === 0 ? [] : base);
  for (const bytes of message.delta?.changed ?? []) {
    const decoded = decodeDefinition(bytes);
    if (!decoded.ok) throw new Error('a node cannot read this definition');
    entries.set(`${decoded.value.kind}\0${definitionKey(decoded.value)}`, hashDefinition(bytes));
  }
  for (const [kind, key] of message.delta?.removed ?? []) entries.delete(`${kind}\0${key}`);
  const tree = new DigestTree();
  for (const [entry, hash] of entries) {
    const [kind = '', key = ''] = entry.split('\0');
    tree.set(kind, key, hash);
  }
  expect(tree.digest()).toBe(trusted.verifyManifest(dev, message.signed).digest);
  return entries;
}

const createFlag = (key: string) => plane.must('POST', `${acme.project}/flags`, { body: booleanFlag(key) });

describe('config over HTTP', () => {
  test('whole, then changes from any kept revision give the same digest; manifests are chained and gap-free (I2)', async () => {
    const first = await configSince();
    expect(first.previousRevision).toBe(0);
    let entries = applyConfig(new Map(), first);
    const start = trusted.verifyManifest(dev, first.signed);
    let manifest = start;
    for (const key of ['a', 'b', 'c']) {
      await createFlag(key);
      const message = await configSince(manifest.revision);
      expect([message.previousRevision, message.delta?.changed.length]).toEqual([manifest.revision, 1]);
      entries = applyConfig(entries, message);
      const next = trusted.verifyManifest(dev, message.signed);
      expect([next.revision, next.previousDigest]).toEqual([manifest.revision + 1, manifest.digest]);
      manifest = next;
    }
    const union = await configSince(start.revision);
    expect([union.previousRevision, union.delta?.changed.length]).toEqual([start.revision, 3]);
    const same = await configSince(manifest.revision);
    expect(same.delta).toEqual({ changed: [], removed: [] });
    expect((await configSince()).delta?.changed).toHaveLength(entries.size);
  });

  test('a change that was not made leaves nothing in the digest of the next one', async () => {
    await plane.must('POST', `${acme.project}/flags?dryRun=true`, { body: booleanFlag('only-dry') });
    const { revision } = await stateOf(acme.dev.id);
    const cyclic = (key: string) => ({ prerequisites: [{ flag: key, variations: ['on'] }] });
    for (const key of ['cycle-a', 'cycle-b']) await createFlag(key);
    const target = (key: string, body: object) =>
      plane.call('PATCH', `${acme.dev.path}/flags/${key}/targeting`, { body, headers: { 'if-match': '"1"' } });
    expect((await target('cycle-a', cyclic('cycle-b'))).status).toBe(200);
    const refused = await target('cycle-b', cyclic('cycle-a'));
    expect([refused.status, refused.body.code]).toEqual([422, 'reference-cycle']);
    await createFlag('after-refusal');
    expect((await stateOf(acme.dev.id)).revision).toBe(revision + 4);
    applyConfig(new Map(), await configSince());
  });

  test('a revision that is unknown or 0 gets the whole, an environment that is unknown 404', async () => {
    const { revision } = await stateOf(acme.dev.id);
    for (const since of [0, revision + 1, 2 ** 52]) expect((await configSince(since)).previousRevision).toBe(0);
    for (const since of ['-1', 'x', '1.5']) {
      expect((await asNode(`/internal/v1/environments/${acme.dev.id}/config?since=${since}`)).status).toBe(422);
    }
    for (const path of ['config', 'access']) {
      const answer = await asNode(`/internal/v1/environments/env_unknown/${path}`);
      expect([answer.status, answer.body.code]).toEqual([404, 'not-found']);
    }
  });

  test('digests move with a commit, and answer 304 until then', async () => {
    const before = await asNode('/internal/v1/digests');
    expect(before.body.buckets).toHaveLength(256);
    const etag = String(before.headers.etag);
    expect((await asNode('/internal/v1/digests', { 'if-none-match': etag })).status).toBe(304);
    await createFlag('moves-digest');
    const after = await asNode('/internal/v1/digests', { 'if-none-match': etag });
    expect(after.status).toBe(200);
    const differing = after.body.buckets.filter(
      (bucket: string, index: number) => bucket !== before.body.buckets[index],
    );
    expect(differing.length).toBeGreaterThan(0);
    for (const buckets of ['0', 'zz', '0A', '00,', '']) {
      expect([buckets, (await asNode(`/internal/v1/digests?buckets=${buckets}`)).status]).toEqual([buckets, 422]);
    }
  });
});

describe('access list', () => {
  test('each change of a key is one signed list more; secrets are hashes', async () => {
    const read = async () => {
      const { bytes } = await asNode(`/internal/v1/environments/${acme.dev.id}/access`);
      return trusted.verifyAccessList(dev, decodeSigned(bytes).signed);
    };
    const start = await read();
    const { body: key } = await plane.must('POST', `${acme.dev.path}/credentials`, {
      body: { kind: 'srv', name: 's', permissions: ['explain'] },
    });
    const made = await read();
    expect(made.sequence).toBe(start.sequence + 1);
    const entry = made.entries.find(({ credentialId }) => credentialId === key.id);
    expect(entry).toMatchObject({ kind: 'srv', revoked: false, permissions: ['explain'], notAfter: null });
    const keyPath = `${acme.dev.path}/credentials/${key.id}`;
    const { body: rotated } = await plane.must('POST', `${keyPath}/rotate`, {
      body: { overlapSeconds: 60 },
      headers: { 'if-match': '"1"' },
    });
    const both = await read();
    expect(both.sequence).toBe(made.sequence + 1);
    expect(both.entries.find(({ credentialId }) => credentialId === key.id)?.notAfter).toBeGreaterThan(Date.now());
    expect(both.entries.find(({ credentialId }) => credentialId === rotated.id)?.permissions).toEqual(['explain']);
    await plane.must('POST', `${keyPath}/revoke`, { headers: { 'if-match': '"2"' } });
    expect((await read()).entries.find(({ credentialId }) => credentialId === key.id)?.revoked).toBe(true);
    expect((await stateOf(acme.dev.id)).accessSequence).toBe(both.sequence + 1);
    expect((await plane.call('POST', `${keyPath}/revoke`, { headers: { 'if-match': '"3"' } })).body.code).toBe(
      'conflict',
    );
    expect((await plane.call('POST', `${keyPath}/rotate`, { body: {}, headers: { 'if-match': '"3"' } })).status).toBe(
      409,
    );
  });

  test('what a key may not have is 422', async () => {
    for (const body of [
      { kind: 'adm', name: 'x' },
      { kind: 'srv', name: 'x', permissions: ['root'] },
      { kind: 'srv', name: 'x', allowedOrigins: ['*'] },
      { kind: 'web', name: 'x', permissions: ['explain'] },
      { kind: 'web', name: 'x', allowedOrigins: ['https://a.example/path'] },
      { kind: 'web', name: 'x', allowedOrigins: ['javascript:alert(1)'] },
      { kind: 'web', name: 'x', allowedOrigins: ['null'] },
      { kind: 'srv', name: 'x', notAfter: 1 },
      { kind: 'srv', name: 'x', secretHash: 'a' },
    ]) {
      expect([body, (await plane.call('POST', `${acme.dev.path}/credentials`, { body })).status]).toEqual([body, 422]);
    }
  });
});

describe('the outbox (I4)', () => {
  test('publishes each change; while the bus is away it waits, then the newest state goes out once', async () => {
    await createFlag('published');
    const { revision } = await stateOf(acme.dev.id);
    const newest = () => {
      const message = bus.configOf(acme.dev.id).at(-1);
      return message === undefined ? undefined : trusted.verifyManifest(dev, message.signed).revision;
    };
    await expect.poll(newest).toBe(revision);
    bus.isRefusing = true;
    for (const key of ['w1', 'w2', 'w3']) await createFlag(key);
    const attempts = bus.attempts;
    await expect.poll(() => bus.attempts).toBeGreaterThan(attempts);
    expect(newest()).toBe(revision);
    const count = bus.configOf(acme.dev.id).length;
    bus.isRefusing = false;
    await expect.poll(newest, { timeout: 10_000 }).toBe(revision + 3);
    const messages = bus.configOf(acme.dev.id).slice(count);
    expect(messages).toHaveLength(1);
    expect([messages[0]?.previousRevision, messages[0]?.delta?.changed.length]).toEqual([revision, 3]);
  });

  test('a change that is committed while another is on its way goes out after it', async () => {
    await expect.poll(() => plane.call('GET', acme.dev.path).then(() => bus.waiting.length)).toBe(0);
    bus.isHolding = true;
    await createFlag('held');
    await expect.poll(() => bus.waiting.length).toBeGreaterThan(0);
    await createFlag('behind');
    const { revision } = await stateOf(acme.dev.id);
    bus.isHolding = false;
    for (const release of bus.waiting.splice(0)) release();
    const revisions = () => bus.configOf(acme.dev.id).map(({ signed }) => trusted.verifyManifest(dev, signed).revision);
    await expect.poll(() => revisions().slice(-2)).toEqual([revision - 1, revision]);
    expect(bus.configOf(acme.dev.id).at(-1)?.previousRevision).toBe(revision - 1);
  });

  test('resumes after a restart', async () => {
    const away = new RecordingBus();
    away.isRefusing = true;
    const first = await TestControlPlane.start({ bus: away });
    const seed = await first.seed();
    await first.stop();
    expect(away.published).toEqual([]);
    away.isRefusing = false;
    const second = await TestControlPlane.start({ directory: first.directory, bus: away });
    const topics = () => away.published.map(({ topic, environmentId }) => `${topic} ${environmentId}`).sort();
    const expected = [seed.dev.id, seed.prod.id].flatMap((id) => [`access ${id}`, `config ${id}`]).sort();
    await expect.poll(topics).toEqual(expected);
    await second.dispose();
  });

  test('above the limit of the bus a message carries the manifest alone', async () => {
    const value = 'x'.repeat(60 * 1024);
    const variations = Array.from({ length: 4 }, (_, index) => ({ key: `v${index}`, value: `${index}${value}` }));
    const edits = Array.from({ length: 3 }, (_, index) => ({
      key: `big${index}`,
      name: 'b',
      type: 'string',
      variations,
    }));
    bus.isRefusing = true;
    for (const body of edits) await plane.must('POST', `${acme.project}/flags`, { body });
    bus.isRefusing = false;
    const { revision } = await stateOf(acme.dev.id);
    const find = () => {
      const last = bus.configOf(acme.dev.id).at(-1);
      return last !== undefined && trusted.verifyManifest(dev, last.signed).revision === revision ? last : undefined;
    };
    await expect.poll(find, { timeout: 10_000 }).toBeDefined();
    expect(find()?.delta).toBeUndefined();
    for (const { message } of bus.published) expect(message.length).toBeLessThanOrEqual(BUS_MESSAGE_BYTES_MAX);
    applyConfig(new Map(), await configSince());
  });
});
