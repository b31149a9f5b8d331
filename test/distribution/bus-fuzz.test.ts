import { setImmediate as nextTurn } from 'node:timers/promises';
import { encodeDefinition } from '@guidon/engine';
import { InProcessChangeBus, subjectOf } from '@guidon/protocol';
import { encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import {
  DigestTree,
  generateSigningKey,
  hashDefinition,
  type Signed,
  signDocument,
} from '@guidon/protocol/signed-config';
import { encode } from '@msgpack/msgpack';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
import { SeededRandom } from '../support/seeded-random.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/**
 * Whatever somebody puts on the bus, in front of a real node: the process lives, and an environment for which nothing was signed answers as before.
 * Documents that are hostile and signed go to the other environment (reliability.md 2.4).
 */
const COUNT = process.env.GUIDON_DEEP === '1' ? 1_000_000 : 50_000;
const WAVE = 100;
const seed = Number(process.env.GUIDON_FUZZ_SEED ?? Date.now() % 1_000_000);
const random = new SeededRandom(seed);

let feed: SignedFeedServer;
let bus: InProcessChangeBus;
let node: RunningNode;
/** Nobody with a key of ours says anything about it. */
let calm: FeedEnvironment;
let victim: FeedEnvironment;
let key = '';

beforeAll(async () => {
  feed = new SignedFeedServer();
  bus = new InProcessChangeBus();
  feed.bus = bus;
  await feed.start();
  calm = feed.addEnvironment('calm');
  victim = feed.addEnvironment('victim');
  for (const environment of [calm, victim]) {
    await environment.publish([aFlag('first'), aFlag('second', { fallthrough: { variation: 'yes' } })]);
    await environment.publish([aFlag('first', { salt: 'changed' })]);
  }
  key = await calm.issueCredential('srv');
  await victim.issueCredential('srv');
  node = await startNode(feed, { logger: pino({ level: 'silent' }) });
  await untilCurrent(node, calm);
  await untilCurrent(node, victim);
  await untilAccepted(node, key);
});
afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

const NASTY = [0xc1, 0xc7, 0xd4, 0xdd, 0xdf, 0xdb, 0xc6, 0xcf, 0xff, 0x00, 0x80, 0x90, 0xa0, 0xc0, 0xcb, 0xd9];
const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  2 ** 53,
  1e308,
  '',
  '../..',
  'x'.repeat(5_000),
  [],
  {},
  [[], {}],
  { __proto__: 1 },
];

function validOnes(environment: FeedEnvironment): Uint8Array[] {
  const { signed } = environment.message(1);
  return [
    encodeConfigMessage(environment.message(0)),
    encodeConfigMessage(environment.message(1)),
    encodeConfigMessage({ signed, previousRevision: 1 }),
    encodeSigned(environment.signedAccess()),
    encodeSigned(feed.keySet(), { rootPublicKey: feed.root.publicKey }),
  ];
}

function mutated(valid: Uint8Array): Uint8Array {
  const way = random.below(6);
  if (way === 0) return random.bytes(random.below(200));
  if (way === 1) return valid.slice(0, random.below(valid.length));
  if (way === 2) return Buffer.concat([valid, random.bytes(random.below(20))]);
  const bytes = Uint8Array.from(valid);
  for (let count = random.between(1, 4); count > 0; count -= 1) {
    bytes[random.below(bytes.length)] = way === 3 ? random.pick(NASTY) : random.below(256);
  }
  return bytes;
}

/** The envelope's members, each of them perhaps something else. */
function strange(): Uint8Array {
  const { signed } = victim.message(1);
  const members: [string, unknown][] = [
    ['manifest', signed.document],
    ['document', signed.document],
    ['signature', signed.signature],
    ['previousRevision', 1],
    ['changed', [signed.document]],
    ['removed', [['flag', 'first']]],
  ];
  const at = random.below(members.length);
  return encode(
    Object.fromEntries(members.map(([name, value], index) => [name, index === at ? random.pick(VALUES) : value])),
  );
}

/** Signed by the key that is trusted, with one member that nobody honest writes. */
function signedAndHostile(): Uint8Array {
  const isAccess = random.next() < 0.5;
  const { document } = isAccess ? victim.signedAccess() : victim.signed();
  const entries: [string, unknown][] = Object.entries(JSON.parse(Buffer.from(document).toString('utf8')));
  const at = random.below(entries.length);
  const hostile = Object.fromEntries(
    entries.map(([name, value], index) => [name, index === at ? random.pick(VALUES) : value]),
  );
  const text = random.next() < 0.1 ? random.bytes(random.below(100)) : Buffer.from(JSON.stringify(hostile));
  const signed = signDocument(text, feed.signingKey);
  return isAccess ? encodeSigned(signed) : encodeConfigMessage({ ...victim.message(1), signed });
}

/** All there would be to a change of `calm`, or to a list that revokes its keys, but the right signature. */
function forged(): Uint8Array {
  const stranger = { ...generateSigningKey(), keyId: feed.signingKey.keyId };
  const forger = random.pick([stranger, feed.root]);
  const sign = (honest: Signed, byForger: Signed): Signed =>
    random.next() < 0.5 ? byForger : { ...byForger, signature: random.pick([honest.signature, random.bytes(64)]) };
  const { keyId } = feed.signingKey;
  if (random.next() < 0.3) {
    const { document } = calm.signedAccess({ sequence: 2, entries: [] });
    return encodeSigned(sign(calm.signedAccess(), signDocument(document, forger)));
  }
  const bytes = encodeDefinition(aFlag('second', { on: false }));
  const tree = new DigestTree();
  tree.set('flag', 'second', hashDefinition(bytes));
  const revision = calm.revision + random.between(1, 3);
  const signed = sign(calm.signed(), calm.sign({ revision, digest: tree.digest(), keyId }, forger));
  return encodeConfigMessage({ signed, previousRevision: 0, delta: { changed: [bytes], removed: [] } });
}

function subjectFor(environment: FeedEnvironment): string {
  const subject = subjectOf(random.next() < 0.5 ? 'config' : 'access', environment.ref);
  const way = random.below(30);
  if (way === 0) return subject.replace('ten-', 'ten-x');
  if (way === 1) return subject.slice(0, random.below(subject.length));
  if (way === 2) return `${subject}.${random.pick(['', 'x', '*', '>', '..', '\u0000'])}`;
  return subject;
}

async function answers(): Promise<string> {
  const body = { context: { targetingKey: 'u' } };
  const { status, body: answer } = await sendJson(`${node.server.url}/v1/evaluate`, { key, body });
  return `${status} ${JSON.stringify(answer)}`;
}

test(
  `${COUNT} messages (seed ${seed}): the process lives, and what nobody signed changes nothing`,
  async () => {
    const valid = [...validOnes(calm), ...validOnes(victim)];
    const before = await answers();
    expect(before).toContain('"yes"');
    for (let sent = 0; sent < COUNT; sent += WAVE) {
      for (let index = 0; index < WAVE; index += 1) {
        const way = random.next();
        if (way < 0.15) await bus.publish(subjectFor(victim), signedAndHostile(), '');
        else if (way < 0.2) await bus.publish(subjectFor(calm), forged(), '');
        else if (way < 0.3) await bus.publish(subjectFor(random.pick([calm, victim])), strange(), '');
        else await bus.publish(subjectFor(random.pick([calm, victim])), mutated(random.pick(valid)), '');
      }
      await nextTurn();
      if (sent % 5_000 === 0) expect(await answers(), `seed ${seed}, after ${sent}`).toBe(before);
    }
    expect(await answers()).toBe(before);
    expect(await metricOf(node, 'guidon_bus_messages_total')).toBeGreaterThan(COUNT * 0.9);
    // And it still hears what is good.
    await calm.publish([aFlag('second', { fallthrough: { variation: 'no' } })]);
    await untilCurrent(node, calm);
    await until('the change', async () => !(await answers()).includes('"yes"'));
  },
  COUNT + 60_000,
);
