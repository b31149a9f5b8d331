import { afterAll, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';
import { type Answering, answerWith, WebhookReceiver } from '../support/webhook-receiver.js';

const HEALTHY_COUNT = 20;
const CHANGES = 60;

let plane: TestControlPlane;
const receivers: WebhookReceiver[] = [];
afterAll(async () => {
  await plane.dispose();
  for (const receiver of receivers) await receiver.stop();
});

/** A byte a second, and never an end. */
const drip: Answering = (_, response) => {
  response.writeHead(200);
  const timer = setInterval(() => response.write('.'), 1_000);
  response.on('close', () => clearInterval(timer));
};

const SICK: Readonly<Record<string, Answering>> = {
  'answers 500': answerWith(500),
  hangs: () => {},
  drips: drip,
  redirects: answerWith(302, { location: 'http://127.0.0.1:1/' }),
  'is gone': answerWith(410),
  'resets the connection': (_, response) => response.destroy(),
};

test('healthy endpoints see every event in order, whatever the sick ones beside them do', async () => {
  plane = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'] });
  const acme: Seed = await plane.seed();
  const endpoint = async (answering?: Answering): Promise<WebhookReceiver> => {
    const receiver = await WebhookReceiver.start(answering);
    receivers.push(receiver);
    const body = { name: 'hook', url: receiver.url, events: ['flag.*'] };
    await plane.must('POST', `${acme.tenant}/webhooks`, { body });
    return receiver;
  };
  const sick = await Promise.all(Object.values(SICK).map((answering) => endpoint(answering)));
  const healthy = await Promise.all(Array.from({ length: HEALTHY_COUNT }, () => endpoint()));
  const committedAt = new Map<string, number>();
  for (let index = 0; index < CHANGES; index += 1) {
    const key = `flag-${index}`;
    await plane.must('POST', `${acme.project}/flags`, { body: { key, type: 'boolean' } });
    committedAt.set(key, Date.now());
  }
  const keys = [...committedAt.keys()];
  const lagsMs: number[] = [];
  for (const receiver of healthy) {
    await until('everything arrives', () => receiver.received.length === CHANGES, 30_000);
    const events = receiver.received.map(({ body }) => JSON.parse(body).data);
    expect(events.map(({ object }) => object.key)).toEqual(keys);
    expect(events.slice(1).map(({ previousSequence }) => previousSequence)).toEqual(
      events.slice(0, -1).map(({ sequence }) => sequence),
    );
    lagsMs.push(...receiver.received.map(({ at }, index) => at - (committedAt.get(keys[index] ?? '') ?? 0)));
  }
  // The first event is all that a sick one was ever asked to take.
  for (const receiver of sick) {
    const ids = new Set(receiver.received.map(({ headers }) => headers['webhook-id']));
    expect(ids.size).toBe(1);
  }
  lagsMs.sort((a, b) => a - b);
  const at = (share: number): number => lagsMs[Math.floor(lagsMs.length * share)] ?? 0;
  console.log(
    `${HEALTHY_COUNT} healthy beside ${sick.length} sick, ${CHANGES} changes: after the answer to the writer ` +
      `median ${at(0.5)} ms, p99 ${at(0.99)} ms`,
  );
  // Far beyond what it takes, far below what one wait for a sick one would: 15 s.
  expect(at(0.99)).toBeLessThan(10_000);
}, 90_000);
