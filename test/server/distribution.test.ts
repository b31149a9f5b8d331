import { InProcessChangeBus, LIMITS, subjectOf } from '@guidon/protocol';
import { encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import { generateSigningKey, type Signed, signDocument } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { sendJson } from '../support/http.js';
import {
  metricOf,
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** What arrives at a node that should not, and that nothing of it changes an answer (threat model 2.4, I7, I9, I10). */
let feed: SignedFeedServer;
let bus: InProcessChangeBus;
let node: RunningNode;
let environment: FeedEnvironment;
let key = '';
let count = 0;

beforeAll(async () => {
  bus = new InProcessChangeBus();
  feed = new SignedFeedServer();
  feed.bus = bus;
  await feed.start();
  node = await startNode(feed);
});

beforeEach(async () => {
  count += 1;
  environment = feed.addEnvironment(`e${count}`);
  await environment.publish([aFlag('flag', { fallthrough: { variation: 'no' } })]);
  key = await environment.issueCredential('srv');
  await untilCurrent(node, environment);
  await untilAccepted(node, key);
});

afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

const saysYes = aFlag('flag', { fallthrough: { variation: 'yes' } });
const answerOf = async () =>
  (await sendJson(`${node.server.url}/v1/evaluate`, { key, body: { flags: 'flag', context: {} } })).body;
const onBus = (message: Uint8Array) => bus.publish(subjectOf('config', environment.ref), message, '');

/** Two polls and whatever they led to. */
async function settle(): Promise<void> {
  const polls = await metricOf(node, 'guidon_polls_total');
  await until('two more polls', async () => (await metricOf(node, 'guidon_polls_total')) >= polls + 2);
}

async function expectUnchanged(): Promise<void> {
  await settle();
  expect(await answerOf()).toEqual({ revision: 1, flag: 'flag', value: 'no', variation: 'no', reason: 'STATIC' });
}

/** The present definitions as a change from revision 1 to 2, under another signed manifest. */
const signedAs = (signed: Signed) => encodeConfigMessage({ ...environment.message(1, signed), previousRevision: 1 });

describe('a change', () => {
  it('arrives by bus without a fetch', async () => {
    feed.requests.length = 0;
    await environment.publish([saysYes]);
    await untilCurrent(node, environment);
    expect(await answerOf()).toMatchObject({ revision: 2, value: 'yes' });
    expect(feed.requests.filter((path) => path.endsWith('/config'))).toEqual([]);
  });

  it('arrives by poll alone when the bus says nothing (I14)', async () => {
    feed.bus = undefined;
    await environment.publish([saysYes]);
    feed.bus = bus;
    await untilCurrent(node, environment);
    expect(await answerOf()).toMatchObject({ revision: 2, value: 'yes' });
  });

  it('that removes a flag removes it', async () => {
    await environment.publish([aFlag('other')], [['flag', 'flag']]);
    await untilCurrent(node, environment);
    expect(await answerOf()).toMatchObject({ errorCode: 'FLAG_NOT_FOUND' });
  });

  it('behind a gap is fetched', async () => {
    feed.bus = undefined;
    await environment.publish([aFlag('lost')]);
    feed.bus = bus;
    await environment.publish([saysYes]);
    await untilCurrent(node, environment);
    const { body } = await sendJson(`${node.server.url}/v1/evaluate`, { key, body: { context: {} } });
    expect(body).toMatchObject({ revision: 3, results: [{ flag: 'flag', value: 'yes' }, { flag: 'lost' }] });
  });

  it('too large for the bus is fetched', async () => {
    const bytes = environment;
    feed.bus = undefined;
    await bytes.publish([saysYes]);
    feed.bus = bus;
    await onBus(encodeConfigMessage({ signed: environment.signed(), previousRevision: 1 }));
    await untilCurrent(node, environment);
  });

  it('twice and out of order is applied once', async () => {
    const second = await environment.publish([saysYes]);
    const third = await environment.publish([aFlag('more')]);
    for (const message of [third, second, third, second]) await onBus(encodeConfigMessage(message));
    await untilCurrent(node, environment);
    await settle();
    expect(await answerOf()).toMatchObject({ revision: 3, value: 'yes' });
  });

  it('of many environments at once reaches all', async () => {
    const many = Array.from({ length: 20 }, (_, index) => feed.addEnvironment(`many-${index}`));
    await Promise.all(many.map((one) => one.publish([aFlag('flag')])));
    await Promise.all(many.map((one) => untilCurrent(node, one)));
    for (const one of many) {
      feed.environments.delete(one.ref.environmentId);
      feed.digests.delete(one.ref.environmentId);
    }
    await until('they are forgotten', () =>
      many.every((one) => node.server.revisionOf(one.ref.environmentId) === undefined),
    );
    await untilAccepted(node, key);
  });
});

describe('config that is not to be trusted changes nothing', () => {
  it.each<[string, () => Uint8Array]>([
    ['garbage', () => Buffer.from('garbage')],
    ['nothing', () => new Uint8Array()],
    ['a cut message', () => encodeConfigMessage(environment.message(0)).subarray(0, -10)],
    ['8 MiB of zeros', () => new Uint8Array(8 * 1024 * 1024)],
    ['a length bomb', () => Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['a message without a signature', () => encodeSigned(environment.signed())],
  ])('%s', async (_name, bytes) => {
    const before = await metricOf(node, 'guidon_bus_messages_total');
    await onBus(bytes());
    await expectUnchanged();
    expect(await metricOf(node, 'guidon_bus_messages_total')).toBe(before + 1);
  });

  /** Publishes revision 2 to nobody, so that a test can lie about it. */
  async function prepareSecond(): Promise<void> {
    feed.bus = undefined;
    environment.isSecretive = true;
    await environment.publish([saysYes]);
    feed.bus = bus;
  }

  it.each<[string, () => Signed]>([
    ['signed by a key nobody knows', () => environment.sign({}, generateSigningKey())],
    [
      'signed by another key under a known key id',
      () => environment.sign({ keyId: feed.signingKey.keyId }, generateSigningKey()),
    ],
    [
      'with a flipped bit in the manifest',
      () => ({ ...environment.signed(), document: flipped(environment.signed().document) }),
    ],
    [
      'with a flipped bit in the signature',
      () => ({ ...environment.signed(), signature: flipped(environment.signed().signature) }),
    ],
    ['with an empty signature', () => ({ ...environment.signed(), signature: new Uint8Array() })],
    ['signed by the root key', () => environment.sign({}, feed.root)],
    ['of another tenant', () => environment.sign({ tenantId: feed.addEnvironment('foreign').ref.tenantId })],
    [
      'of another environment',
      () => environment.sign({ environmentId: feed.addEnvironment('foreign').ref.environmentId }),
    ],
    ['of an unknown schema', () => environment.sign({ schema: 2 })],
    ['that is expired and new (freeze)', () => environment.sign({ expiresAt: Date.now() - 1 })],
    ['that jumps too far (fast-forward)', () => environment.sign({ revision: 2 ** 52 })],
    ['whose digest is another', () => environment.sign({ digest: 'f'.repeat(64) })],
    ['with other members in the same bytes', () => signDocument(Buffer.from('{"revision":2}'), feed.signingKey)],
  ])('a manifest %s', async (_name, sign) => {
    await prepareSecond();
    const signed = sign();
    // Over HTTP the same lie, about the whole configuration.
    environment.configOverride = () => encodeConfigMessage(environment.message(0, signed));
    await onBus(signedAs(signed));
    await expectUnchanged();
    // Now the digests say that there is a revision 2, so it is asked for.
    feed.requests.length = 0;
    environment.announce();
    await until('it was fetched', () =>
      feed.requests.includes(`/internal/v1/environments/${environment.ref.environmentId}/config`),
    );
    await expectUnchanged();
    environment.configOverride = undefined;
    await untilCurrent(node, environment);
  });

  it('a replay of an older revision (I7)', async () => {
    const first = environment.message(0);
    await environment.publish([saysYes]);
    await untilCurrent(node, environment);
    await onBus(encodeConfigMessage(first));
    await settle();
    expect(await answerOf()).toMatchObject({ revision: 2, value: 'yes' });
  });

  it('a fork: the same revision with another digest is an alarm, and what serves stays', async () => {
    await prepareSecond();
    await onBus(signedAs(environment.sign({ revision: 1 })));
    await expectUnchanged();
    expect(node.log.some(({ reason, level }) => reason === 'fork' && level === 50)).toBe(true);
  });

  it('definitions of another revision under a genuine manifest: the digest does not hold, and the whole is fetched', async () => {
    await prepareSecond();
    const message = environment.message(1);
    await onBus(
      encodeConfigMessage({
        ...message,
        delta: { changed: [Buffer.from(JSON.stringify(aFlag('flag', { on: false })))], removed: [] },
      }),
    );
    await untilCurrent(node, environment);
    expect(await answerOf()).toMatchObject({ revision: 2, value: 'yes' });
  });

  it('an access list of another environment, or an older one', async () => {
    const other = feed.addEnvironment('thief');
    const theirs = await other.issueCredential('srv');
    await bus.publish(subjectOf('access', environment.ref), encodeSigned(other.signedAccess()), '');
    await bus.publish(
      subjectOf('access', environment.ref),
      encodeSigned(environment.signedAccess({ sequence: 0, entries: [] })),
      '',
    );
    await expectUnchanged();
    expect((await sendJson(`${node.server.url}/v1/evaluate`, { key: theirs, body: { context: {} } })).status).not.toBe(
      200,
    );
  });
});

describe('a poisonous revision (I10)', () => {
  const poisons: [string, () => Promise<unknown>][] = [
    [
      'that does not parse',
      () => environment.publishBytes([['flag', 'flag', Buffer.from('{"kind":"flag","key":"flag"}')]]),
    ],
    ['that is not JSON', () => environment.publishBytes([['flag', 'flag', Buffer.from('\u0000garbage')]])],
    [
      'whose weights do not sum',
      () =>
        environment.publish([
          aFlag('flag', { fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 5 }] } } }),
        ]),
    ],
    [
      'with a cycle of prerequisites',
      () =>
        environment.publish([
          aFlag('flag', { prerequisites: [{ flag: 'other', variations: ['no'] }] }),
          aFlag('other', { prerequisites: [{ flag: 'flag', variations: ['no'] }] }),
        ]),
    ],
    [
      'with more rules than a flag may have (I11)',
      () =>
        environment.publish([
          aFlag('flag', {
            rules: Array.from({ length: LIMITS.rulesPerFlag + 1 }, (_, index) => ({
              id: `r${index}`,
              when: { attribute: 'email', op: 'in', values: ['a'] },
              serve: { variation: 'yes' },
            })),
          }),
        ]),
    ],
    [
      'with a pattern that RE2 refuses',
      () =>
        environment.publish([
          aFlag('flag', {
            rules: [
              { id: 'r', when: { attribute: 'email', op: 'matches', values: ['(a)\\1'] }, serve: { variation: 'yes' } },
            ],
          }),
        ]),
    ],
  ];
  it.each(poisons)('%s: the last good one serves, and it is not tried again', async (_name, publish) => {
    await publish();
    await until('quarantined', async () => {
      const page = await (await fetch(`${node.server.metricsUrl}/metrics`)).text();
      return page.includes(`guidon_quarantined_revisions{environment="${environment.ref.environmentId}"} 1`);
    });
    feed.requests.length = 0;
    await expectUnchanged();
    expect(feed.requests.filter((path) => path.includes(environment.ref.environmentId))).toEqual([]);
    expect((await fetch(`${node.server.metricsUrl}/readyz`)).status).toBe(200);
    await environment.publish([saysYes, aFlag('other')]);
    await untilCurrent(node, environment);
    expect(await answerOf()).toMatchObject({ revision: 3, value: 'yes' });
  });
});

describe('keys', () => {
  it('a rotated signing key is taken up by itself', async () => {
    feed.rotateSigningKey();
    await environment.publish([saysYes]);
    await untilCurrent(node, environment);
    expect(await answerOf()).toMatchObject({ revision: 2, value: 'yes' });
  });
});

describe('the control plane', () => {
  it('answering errors, then nothing at all, changes no answer; what came meanwhile arrives afterwards (I12, I14)', async () => {
    feed.failWith = 500;
    await expectStillServing();
    feed.failWith = undefined;
    await feed.stop();
    feed.bus = undefined;
    await environment.publish([saysYes]);
    await expectStillServing();
    await feed.start();
    feed.bus = bus;
    await untilCurrent(node, environment);
  });

  async function expectStillServing(): Promise<void> {
    for (let round = 0; round < 20; round += 1) {
      expect(await answerOf()).toMatchObject({ value: 'no' });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
});

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[10] = (copy[10] ?? 0) ^ 1;
  return copy;
}

describe('readiness and status', () => {
  const ready = async (node: RunningNode) => (await fetch(`${node.server.metricsUrl}/readyz`)).status;
  const poison: [string, string, Uint8Array] = ['flag', 'flag', Buffer.from('{}')];

  it('a node on which everything was refused is not ready; one refused environment among others is (I11)', async () => {
    const own = await new SignedFeedServer().start();
    const bad = own.addEnvironment('bad');
    await bad.publishBytes([poison]);
    await bad.issueCredential('srv');
    const node = await startNode(own);
    try {
      await until('the revision is refused', async () => (await metricOf(node, 'guidon_quarantined_revisions')) === 1);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(await ready(node)).toBe(503);
      const good = own.addEnvironment('good');
      await good.publish([aFlag('flag')]);
      await good.issueCredential('srv');
      await untilCurrent(node, good);
      await until('ready', async () => (await ready(node)) === 200);
    } finally {
      await node.stop();
      await own.stop();
    }
  });

  it('says once that the control plane refuses its status', async () => {
    const own = await new SignedFeedServer().start();
    own.statusAnswer = 404;
    const node = await startNode(own, { pollIntervalMs: 20 });
    try {
      const posts = () => own.requests.filter((path) => path.endsWith('/status')).length;
      await until('several posts', () => posts() > 3);
      expect(node.log.filter(({ msg }) => msg === 'the status could not be posted')).toHaveLength(1);
      own.statusAnswer = 204;
      const before = posts();
      await until('it is taken', () => posts() > before);
      const after = posts();
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(posts()).toBe(after);
    } finally {
      await node.stop();
      await own.stop();
    }
  });
});
