import { encode } from '@msgpack/msgpack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { postBytes, RawConnection } from '../support/raw-http.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { SignedFeedServer } from '../support/signed-feed-server.js';

const BODY_COUNT = 100_000;
/** Requests pipelined at once: answers come inline. */
const WAVE = 100;
const TIME_MAX_MS = 90_000;

let feed: SignedFeedServer;
let node: RunningNode;
let key = '';

beforeAll(async () => {
  feed = await new SignedFeedServer().start();
  const environment = feed.addEnvironment('fuzz');
  await environment.publish([
    aFlag('greeting', {
      rules: [
        { id: 'a', when: { attribute: 'email', op: 'matches', values: ['^a+b'] }, serve: { variation: 'yes' } },
        {
          id: 'b',
          when: { attribute: '/address/zip', op: 'semverGt', values: ['1.2.3'] },
          serve: { variation: 'yes' },
        },
      ],
    }),
  ]);
  key = await environment.issueCredential('srv');
  node = await startNode(feed);
  await untilCurrent(node, environment);
  await untilAccepted(node, key);
});

afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

/** Mulberry32: small, seeded, good enough to mutate with. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const context = {
  targetingKey: 'u',
  email: 'aab@example.test',
  address: { zip: '1.2.4' },
  tags: ['a', 1, true, null, 1.5],
  big: 2 ** 60,
};
const SEEDS: readonly Uint8Array[] = [
  encode({ flags: 'greeting', context }),
  encode({ flags: ['greeting', 'nowhere'], context }),
  encode({ context: { kind: 'multi', user: context, organization: { targetingKey: 'o' } } }),
  encode({ flag_key: 'greeting', user_id: 'u', context: {} }),
  encode({
    requests: [
      { flag: 'greeting', context },
      { flag: 'greeting', context: {} },
    ],
  }),
  encode({ contexts: [context, {}], flags: ['greeting'], minRevision: 1 }),
];
const NASTY = [0xc1, 0xc7, 0xd4, 0xdd, 0xdf, 0xdb, 0xc6, 0xcf, 0xff, 0x00, 0x80, 0x90, 0xa0, 0xc0, 0xcb, 0xd9];

function mutate(random: () => number): Uint8Array {
  const pick = (count: number): number => Math.floor(random() * count);
  const seed = SEEDS[pick(SEEDS.length)] ?? new Uint8Array();
  const kind = pick(8);
  if (kind === 0) return Uint8Array.from({ length: pick(80) }, () => pick(256));
  if (kind === 1) return seed.slice(0, pick(seed.length));
  const bytes = Uint8Array.from(seed);
  const editCount = 1 + pick(kind);
  for (let edit = 0; edit < editCount; edit += 1) {
    bytes[pick(bytes.length)] = kind % 2 === 0 ? (NASTY[pick(NASTY.length)] ?? 0) : pick(256);
  }
  return kind === 7 ? Buffer.concat([bytes, bytes.subarray(pick(bytes.length))]) : bytes;
}

describe('fuzzed msgpack bodies over HTTP', () => {
  it(`each of ${BODY_COUNT} is answered 200, 400, 409 or 422, and the process lives`, {
    timeout: TIME_MAX_MS + 20_000,
  }, async () => {
    const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000);
    const random = randomOf(seed);
    const statuses = new Map<number, number>();
    const note = (status: number | undefined, body: Uint8Array): void => {
      expect([200, 400, 409, 422], `seed ${seed}: ${Buffer.from(body).toString('hex')}`).toContain(status);
      statuses.set(status ?? 0, (statuses.get(status ?? 0) ?? 0) + 1);
      sent += 1;
    };
    const startedAt = performance.now();
    let connection = await RawConnection.open(port());
    let sent = 0;
    while (sent < BODY_COUNT && performance.now() - startedAt < TIME_MAX_MS) {
      const bodies = Array.from({ length: WAVE }, () => mutate(random));
      const path = random() < 0.5 ? '/v1/evaluate' : '/v1/evaluate/batch';
      connection.send(Buffer.concat(bodies.map((body) => request(path, body))));
      for (const [index, body] of bodies.entries()) {
        const answer = await connection.read();
        if (answer !== undefined) {
          note(answer.status, body);
          continue;
        }
        // A body that waits for a revision ends a pipeline, answers that were not sent yet included. Only such a one may.
        const alone = await sendAlone(path, bodies.slice(index));
        for (const [position, status] of alone.entries()) note(status, bodies[index + position] ?? new Uint8Array());
        expect(alone, `seed ${seed}`).toContain(409);
        connection.end();
        connection = await RawConnection.open(port());
        break;
      }
    }
    connection.end();
    expect(sent, `seed ${seed}`).toBeGreaterThanOrEqual(BODY_COUNT);
    expect(statuses.get(200) ?? 0).toBeGreaterThan(BODY_COUNT / 100);
    expect(statuses.get(400) ?? 0).toBeGreaterThan(BODY_COUNT / 10);
    expect((await fetch(`${node.server.metricsUrl}/readyz`)).status).toBe(200);
    expect(node.log.filter(({ level }) => level >= 50)).toEqual([]);
  });

  /** Each on a connection of its own, all at once. */
  function sendAlone(path: string, bodies: readonly Uint8Array[]): Promise<(number | undefined)[]> {
    return Promise.all(
      bodies.map(async (body) => {
        const connection = await RawConnection.open(port());
        connection.send(request(path, body));
        const answer = await connection.read();
        connection.end();
        return answer?.status;
      }),
    );
  }

  function port(): number {
    return Number(new URL(node.server.url).port);
  }

  function request(path: string, body: Uint8Array): Buffer {
    return postBytes(
      path,
      [
        ['Host', 'localhost'],
        ['Content-Type', 'application/msgpack'],
        ['Authorization', `Bearer ${key}`],
        ['Content-Length', String(body.length)],
      ],
      body,
    );
  }
});
