import type { DispatchClock } from '@guidon/control-plane/webhooks/endpoint-lane.js';
import { RETRY_DELAYS_MS } from '@guidon/control-plane/webhooks/retry-schedule.js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';
import { answerWith, WebhookReceiver } from '../support/webhook-receiver.js';

/** A clock that stands still between `advance`s, apart from the time that passes anyway. */
class LedClock implements DispatchClock {
  readonly timers = new Map<number, { readonly at: number; readonly work: () => void }>();
  #offset = 0;
  #count = 0;

  readonly now = (): number => Date.now() + this.#offset;
  readonly random = (): number => 0.5;
  readonly after = (ms: number, work: () => void): (() => void) => {
    const id = ++this.#count;
    this.timers.set(id, { at: this.now() + ms, work });
    return () => this.timers.delete(id);
  };

  /** Milliseconds until the next timer; undefined when there is none. */
  get nextMs(): number | undefined {
    const [first] = [...this.timers.values()].sort((a, b) => a.at - b.at);
    return first && first.at - this.now();
  }

  advance(ms: number): void {
    this.#offset += ms;
    for (const [id, { at, work }] of this.timers) {
      if (at > this.now()) continue;
      this.timers.delete(id);
      work();
    }
  }
}

let clock: LedClock;
let plane: TestControlPlane;
let acme: Seed;
let receiver: WebhookReceiver;
let watcher: WebhookReceiver;
let path: string;

beforeEach(async () => {
  clock = new LedClock();
  plane = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'], webhookClock: clock, now: clock.now });
  acme = await plane.seed();
  receiver = await WebhookReceiver.start(answerWith(500));
  watcher = await WebhookReceiver.start();
  const make = (url: string, events: string[]) =>
    plane.must('POST', `${acme.tenant}/webhooks`, { body: { name: 'hook', url, events } });
  const { body } = await make(receiver.url, ['flag.created']);
  path = `${acme.tenant}/webhooks/${body.id}`;
  await make(watcher.url, ['webhook.failing', 'webhook.recovered', 'webhook.disabled']);
});
afterEach(async () => {
  await plane.dispose();
  await receiver.stop();
  await watcher.stop();
});

const makeFlag = (key: string) => plane.must('POST', `${acme.project}/flags`, { body: { key, type: 'boolean' } });
const heard = (): string[] => watcher.received.map(({ body }) => JSON.parse(body).type);
/** Until attempt `count` was made and the next is waited for. */
const attempted = (count: number) =>
  until(`attempt ${count}`, () => receiver.received.length === count && clock.timers.size === 1);

test('the schedule is that of the specification, with jitter, over 75 hours; then the endpoint is disabled, the event kept', async () => {
  expect(RETRY_DELAYS_MS.map((ms) => ms / 1_000)).toEqual([
    0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
  ]);
  await makeFlag('first');
  for (let attempt = 1; attempt < RETRY_DELAYS_MS.length; attempt += 1) {
    await attempted(attempt);
    const expected = (RETRY_DELAYS_MS[attempt] ?? 0) * 1.05;
    const nextMs = clock.nextMs ?? 0;
    expect(nextMs).toBeLessThanOrEqual(expected + 1);
    // Real time passes between the attempt and this look; what remains is nearer to this delay than to any other.
    expect(nextMs).toBeGreaterThan(expected - 5_000);
    clock.advance(nextMs + 1);
  }
  await until('it is disabled', async () => (await plane.must('GET', path)).body.health === 'disabled');
  expect([receiver.received.length, clock.timers.size]).toEqual([10, 0]);
  expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  const stamps = receiver.received.map(({ headers }) => Number(headers['webhook-timestamp']));
  expect(new Set(stamps).size).toBe(10);
  await until('both were told', () => heard().length === 2);
  expect(heard()).toEqual(['webhook.failing', 'webhook.disabled']);
  const { headers } = await plane.must('GET', path);
  await plane.must('PATCH', path, { body: { enabled: true }, headers: { 'if-match': String(headers.etag) } });
  // Its attempts are counted anew: this one is no eleventh.
  await attempted(11);
  await until('it is written down', async () => (await plane.must('GET', `${path}/state`)).body.attempt === 1);
  receiver.answering = answerWith(204);
  clock.advance((clock.nextMs ?? 0) + 1);
  await until('it is delivered', () => receiver.received.length === 12);
  expect(receiver.received[11]?.headers['webhook-id']).toBe(receiver.received[0]?.headers['webhook-id']);
});

test('nothing overtakes an event that is being retried; after it everything comes, and the endpoint is well again', async () => {
  await makeFlag('first');
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    await attempted(attempt);
    if (attempt < 3) clock.advance((clock.nextMs ?? 0) + 1);
  }
  await until('it is called failing', () => heard().length === 1);
  await makeFlag('second');
  receiver.answering = answerWith(204);
  await until('the lane waits', () => clock.timers.size === 1);
  expect(receiver.received).toHaveLength(3);
  clock.advance((clock.nextMs ?? 0) + 1);
  await until('both are there', () => receiver.received.length === 5);
  expect(receiver.received.map(({ body }) => JSON.parse(body).data.object.key)).toEqual(
    'first first first first second'.split(' '),
  );
  await until('it is well', () => heard().length === 2);
  expect([heard()[1], (await plane.must('GET', path)).body.health]).toEqual(['webhook.recovered', 'ok']);
});

test('a restart goes on with the schedule where it was', async () => {
  await makeFlag('first');
  await attempted(1);
  clock.advance((clock.nextMs ?? 0) + 1);
  await attempted(2);
  const dueMs = clock.nextMs ?? 0;
  await plane.stop();
  expect(clock.timers.size).toBe(0);
  plane = await TestControlPlane.start({
    directory: plane.directory,
    webhookAllow: ['127.0.0.1'],
    webhookClock: clock,
    now: clock.now,
  });
  await until('it waits again', () => clock.timers.size === 1);
  expect(receiver.received).toHaveLength(2);
  expect(clock.nextMs ?? 0).toBeLessThanOrEqual(dueMs);
  expect(clock.nextMs ?? 0).toBeGreaterThan(dueMs - 60_000);
});

test('Retry-After of an answer is honoured', async () => {
  receiver.answering = answerWith(429, { 'retry-after': '3600' });
  await makeFlag('first');
  await attempted(1);
  expect(clock.nextMs ?? 0).toBeGreaterThan(3_500_000);
  expect(clock.nextMs ?? 0).toBeLessThanOrEqual(3_600_000);
});
