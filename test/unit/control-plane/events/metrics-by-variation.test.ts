import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventIntake } from '@guidon/control-plane/events/event-intake.js';
import { EventSweep } from '@guidon/control-plane/events/event-sweep.js';
import { type ExposedRow, FLAGS_PER_SUBJECT_MAX, PERIOD_MS } from '@guidon/control-plane/events/exposed-subjects.js';
import { METRIC_NAMES_MAX, type MetricResult, readMetrics } from '@guidon/control-plane/events/metric-sums.js';
import { periodOf } from '@guidon/control-plane/events/usage-read-model.js';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '@guidon/control-plane/events/usage-rows.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { type KeyRange, keys } from '@guidon/control-plane/store/keys.js';
import { parseEnvironmentRef } from '@guidon/protocol';
import { type Event, type EventContext, encodeEventMessage } from '@guidon/protocol/events';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** Metric events beside what those had been exposed to who they are of: on a real store, with a clock of our own. */

const environment = parseEnvironmentRef({ tenantId: 't1', projectId: 'p1', environmentId: 'e1' });
const other = parseEnvironmentRef({ tenantId: 't2', projectId: 'p2', environmentId: 'e2' });
const FLAG_COUNT = FLAGS_PER_SUBJECT_MAX + 5;
let directory: string;
let store: ControlStore;
let intake: EventIntake;
let now: number;
let count = 0;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-metrics-'));
  store = await ControlStore.open({ directory });
  // The beginning of a period.
  now = 3_000 * PERIOD_MS;
  intake = new EventIntake({ store, logger: pino({ level: 'silent' }), now: () => now });
  await store.transaction((transaction) => {
    for (const ref of [environment, other]) {
      transaction.put(keys.environmentOwner(ref.environmentId), ref);
      for (const key of ['gate', ...Array.from({ length: FLAG_COUNT }, (_, index) => `f${index}`)]) {
        transaction.put(keys.flag(ref.tenantId, ref.projectId, key), { key });
      }
    }
  });
});
afterEach(async () => {
  await intake.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

const newId = (): string => `event-${String(++count).padStart(14, '0')}`;
const user = (targetingKey: string): EventContext => ({ targetingKey });
const exposure = (context: EventContext, variation: string, flag = 'gate', at = now): Event => ({
  id: newId(),
  kind: 'exposure',
  at,
  flag,
  variation,
  context,
});
const metric = (context: EventContext, value?: number, key = 'order', at = now): Event => ({
  id: newId(),
  kind: 'metric',
  at,
  key,
  ...(value === undefined ? {} : { value }),
  context,
});
const take = (events: readonly Event[], of = environment) =>
  intake.take(encodeEventMessage({ environment: of, origin: 'srv', receivedAt: now, events }));
const resultsOf = (flag = 'gate', of = environment): MetricResult[] =>
  readMetrics(store, of, flag, periodOf({ interval: 'hour', from: 0 }, now));
const briefly = (flag?: string, of?: typeof environment): string[] =>
  resultsOf(flag, of).map(
    ({ metric: name, variation, count: n, sum, mean }) => `${name} ${variation} ${n} ${sum} ${mean}`,
  );
const rowCount = (range: KeyRange): number => store.list(range).length;

describe('metrics by variation', () => {
  it('counts and sums what those did who had been exposed to a variation, in minutes and hours alike', async () => {
    await take([exposure(user('a'), 'on'), exposure(user('b'), 'off')]);
    await take([metric(user('a'), 3), metric(user('a'), 4), metric(user('b'), 10), metric(user('nobody'), 99)]);
    await take([metric(user('a'), undefined, 'click'), metric(user('a'))]);
    const expected = ['click on 1 0 null', 'order off 1 10 10', 'order on 3 7 3.5'];
    expect(briefly()).toEqual(expected);
    const minutes = readMetrics(store, environment, 'gate', periodOf({ interval: 'minute' }, now));
    expect(minutes).toEqual(resultsOf());
  });

  it('takes an exposure that comes in one batch with what followed, whatever stands first', async () => {
    await take([metric(user('a'), 1), exposure(user('a'), 'on')]);
    expect(briefly()).toEqual(['order on 1 1 1']);
  });

  it('counts an event once, and nothing of a repetition', async () => {
    const events = [exposure(user('a'), 'on'), metric(user('a'), 5)];
    await take(events);
    await take(events);
    expect(briefly()).toEqual(['order on 1 5 5']);
  });

  it('keeps environments apart, whoever is in both', async () => {
    await take([exposure(user('a'), 'on')]);
    await take([metric(user('a'), 1)], other);
    expect([briefly(), briefly('gate', other)]).toEqual([[], []]);
  });

  it('follows who is served another variation, and who comes back to the first', async () => {
    const start = now;
    for (const [index, variation] of ['on', 'off', 'on'].entries()) {
      now = start + index * 10 * MINUTE_MS;
      await take([exposure(user('a'), variation)]);
      now += MINUTE_MS;
      await take([metric(user('a'), 10 ** index)]);
    }
    expect(briefly()).toEqual(['order off 1 10 10', 'order on 2 101 50.5']);
  });

  it('looks at when it was, not when it came', async () => {
    const start = now;
    now += HOUR_MS;
    await take([exposure(user('a'), 'off', 'gate', start + 30 * MINUTE_MS)]);
    await take([exposure(user('a'), 'on', 'gate', start + 10 * MINUTE_MS)]);
    // Of the first, of the second, and before any: clocks differ by a minute at most.
    await take([
      metric(user('a'), 1, 'order', start + 20 * MINUTE_MS),
      metric(user('a'), 2, 'order', start + 40 * MINUTE_MS),
    ]);
    expect(briefly()).toEqual(['order off 1 2 2', 'order on 1 1 1']);
    await take([exposure(user('b'), 'on', 'gate', start + 30 * MINUTE_MS)]);
    await take([
      metric(user('b'), 4, 'order', start + 29.5 * MINUTE_MS),
      metric(user('b'), 8, 'order', start + 20 * MINUTE_MS),
    ]);
    expect(briefly()).toEqual(['order off 1 2 2', 'order on 2 5 2.5']);
  });

  it('knows somebody by each kind of his context', async () => {
    const both: EventContext = { kind: 'multi', user: { targetingKey: 'a' }, device: { targetingKey: 'd' } };
    await take([exposure(both, 'on')]);
    await take([metric({ kind: 'user', targetingKey: 'a' }, 1), metric({ kind: 'device', targetingKey: 'd' }, 2)]);
    await take([metric(both, 4), metric({ kind: 'device', targetingKey: 'a' }, 8)]);
    expect(briefly()).toEqual(['order on 3 7 2.3333333333333335']);
  });

  it('remembers for a period and the next, and longer when it is told again', async () => {
    await take([exposure(user('a'), 'on'), exposure(user('b'), 'on')]);
    now += 2 * PERIOD_MS - DAY_MS;
    await take([exposure(user('b'), 'on', 'f0'), exposure(user('b'), 'on'), metric(user('a'), 1)]);
    now += DAY_MS;
    await take([metric(user('a'), 2), metric(user('b'), 4)]);
    expect([briefly(), briefly('f0')]).toEqual([['order on 2 5 2.5'], ['order on 1 4 4']]);
    await new EventSweep({ store, now: () => now }).sweep();
    expect(rowCount(keys.exposedSubjects(environment)) + rowCount(keys.exposedCounts(environment))).toBe(2);
  });

  it('remembers so many flags of somebody, the newest, and counts so many names apart', async () => {
    for (let index = 0; index < FLAG_COUNT; index += 1)
      await take([exposure(user('a'), 'on', `f${index}`, now + index - HOUR_MS)]);
    const [row] = store.list<ExposedRow>(keys.exposedSubjects(environment));
    expect(row?.value).toHaveLength(FLAGS_PER_SUBJECT_MAX);
    await take(Array.from({ length: METRIC_NAMES_MAX + 9 }, (_, index) => metric(user('a'), 1, `m${index}`)));
    expect(briefly('f0')).toEqual([]);
    const results = resultsOf(`f${FLAG_COUNT - 1}`);
    expect(results).toHaveLength(METRIC_NAMES_MAX + 1);
    expect(results[0]).toEqual({ metric: '?', variation: '?', count: 9, sum: 9, mean: 1 });
  });

  it('keeps sums what JSON can say', async () => {
    await take([exposure(user('a'), 'on')]);
    await take([metric(user('a'), 1.7e308), metric(user('a'), 1.7e308)]);
    expect(resultsOf()[0]?.sum).toBe(Number.MAX_VALUE);
  });
});
