import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventIntake } from '@guidon/control-plane/events/event-intake.js';
import { EventSweep } from '@guidon/control-plane/events/event-sweep.js';
import { periodOf, readUsage, sumOf } from '@guidon/control-plane/events/usage-read-model.js';
import {
  ALL_FLAGS,
  DAY_MS,
  type EventLogHead,
  HOUR_MS,
  MINUTE_MS,
  SENDERS_MAX,
  type SeenRow,
  UNKNOWN_FLAGS_MAX,
} from '@guidon/control-plane/events/usage-rows.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { type KeyRange, keys } from '@guidon/control-plane/store/keys.js';
import { parseEnvironmentRef } from '@guidon/protocol';
import { type Event, type EventMessage, encodeEventMessage } from '@guidon/protocol/events';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** What is counted, for how long, and within which bounds: on a real store, with a clock of our own. */

const environment = parseEnvironmentRef({ tenantId: 't1', projectId: 'p1', environmentId: 'e1' });
const other = parseEnvironmentRef({ tenantId: 't2', projectId: 'p2', environmentId: 'e2' });
const logger = pino({ level: 'silent' });
let directory: string;
let store: ControlStore;
let intake: EventIntake;
let now: number;
let count = 0;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-intake-'));
  store = await ControlStore.open({ directory });
  now = 20_000 * DAY_MS + 12 * HOUR_MS;
  intake = new EventIntake({ store, logger, now: () => now });
  await store.transaction((transaction) => {
    for (const ref of [environment, other]) transaction.put(keys.environmentOwner(ref.environmentId), ref);
    transaction.put(keys.flag(environment.tenantId, environment.projectId, 'gate'), { key: 'gate' });
  });
});
afterEach(async () => {
  await intake.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

function newId(): string {
  count += 1;
  return `event-${String(count).padStart(14, '0')}`;
}

const summary = (flag: string, more: Partial<Extract<Event, { kind: 'summary' }>['counts'][0]> = {}): Event => ({
  id: newId(),
  kind: 'summary',
  from: 0,
  to: now,
  counts: [{ flag, variation: 'on', count: 1, ...more }],
});
const exposure = (variation = 'on'): Event => ({
  id: newId(),
  kind: 'exposure',
  at: now,
  flag: 'gate',
  variation,
  context: { targetingKey: 'u' },
});
const take = (events: readonly Event[], more: Partial<EventMessage> = {}) =>
  intake.take(`${encodeEventMessage({ environment, origin: 'srv', receivedAt: now, events, ...more })}\n`);
const totalOf = (flag: string, interval: 'minute' | 'hour' = 'hour', from = 0) =>
  sumOf(readUsage(store, environment, flag, periodOf({ interval, from }, now)));
const rowCount = (range: KeyRange): number => store.list(range).length;

describe('EventIntake', () => {
  it('knows an id again for the rest of its day and the next, and within one batch', async () => {
    const event = exposure();
    expect(await take([event, event])).toEqual({ accepted: 1, duplicates: 1, homeless: 0 });
    now = 20_001 * DAY_MS + 24 * HOUR_MS - 1;
    expect(await take([event])).toEqual({ accepted: 0, duplicates: 1, homeless: 0 });
    now += 1;
    expect(await take([event])).toEqual({ accepted: 1, duplicates: 0, homeless: 0 });
  });

  it('takes the same id for two environments, and nothing for one that is not the one of its tenant', async () => {
    const event = exposure();
    await take([event]);
    expect(await take([event], { environment: other })).toMatchObject({ accepted: 1 });
    const foreign = { ...other, tenantId: environment.tenantId };
    expect(await take([exposure(), exposure()], { environment: foreign })).toMatchObject({ homeless: 2 });
    expect(totalOf('gate').exposures).toEqual({ on: 1 });
  });

  it('counts minutes and hours alike, by who evaluated', async () => {
    for (const origin of ['node', 'srv', 'web'] as const) {
      await take([summary('gate', { count: 5 }), summary('gate', { variation: null, errorCode: 'GENERAL' })], {
        origin,
      });
    }
    for (const interval of ['minute', 'hour'] as const) {
      expect(totalOf('gate', interval)).toEqual({
        evaluations: { on: 10 },
        errors: { GENERAL: 2 },
        clientReads: { on: 5 },
        exposures: {},
        metricEvents: 0,
      });
    }
  });

  it('puts what clocks of clients say into the time that is kept', async () => {
    const at = (to: number): Event => ({ ...summary('gate'), from: 0, to }) as Event;
    await take([at(0), at(now + 900 * DAY_MS), at(now - 3 * HOUR_MS)]);
    const points = readUsage(store, environment, 'gate', periodOf({ interval: 'minute', from: 0 }, now));
    const minutes = points.map((point) => Math.round((now - point.at) / MINUTE_MS));
    expect(minutes).toEqual([48 * 60 - 1, 180, 0]);
  });

  it('makes several transactions of many events, and counts them all', async () => {
    const events = Array.from({ length: 1_000 }, () => exposure());
    const lines = [events.slice(0, 400), events.slice(400), events.slice(100, 300)].map((part) =>
      encodeEventMessage({ environment, origin: 'srv', receivedAt: now, events: part }),
    );
    expect(await intake.take(lines.join('\n'))).toEqual({ accepted: 1_000, duplicates: 200, homeless: 0 });
    const head = store.find<EventLogHead>(keys.eventLogHead(environment, 20_000));
    expect(head).toMatchObject({ events: 1_000, dropped: 0 });
    const logged = store.list<unknown[]>(keys.eventLogOfDay(environment, 20_000)).flatMap(({ value }) => value);
    expect(logged).toEqual(events.map((event) => ({ ...event, origin: 'srv', receivedAt: now })));
  });

  it('drops what is no message, and goes on', async () => {
    const good = encodeEventMessage({ environment, origin: 'srv', receivedAt: now, events: [exposure()] });
    expect(await intake.take(`no JSON\n{}\n${good}\n`)).toMatchObject({ accepted: 1 });
    expect(intake.counters).toMatchObject({ accepted: 1, refused: 2 });
  });

  it('bounds the names that clients make up', async () => {
    const many = Array.from({ length: 300 }, (_, index) => exposure(`made-up-${index}`));
    await take(many);
    const { exposures } = totalOf('gate');
    expect(Object.keys(exposures).length).toBe(101);
    expect(Object.values(exposures).reduce((sum, each) => sum + each, 0)).toBe(300);
    for (let index = 0; index < UNKNOWN_FLAGS_MAX + 20; index += 1) {
      now += 1;
      await take([summary(`none-${index}`, { variation: null, errorCode: 'FLAG_NOT_FOUND' })], {
        sdk: { name: `sdk-${index}`, version: '1' },
      });
    }
    const unknown = store.find<SeenRow>(keys.unknownFlags(environment)) ?? [];
    expect(unknown.length).toBe(UNKNOWN_FLAGS_MAX);
    expect(unknown.map(([name]) => name)).not.toContain('none-0');
    expect(unknown.map(([name]) => name)).toContain(`none-${UNKNOWN_FLAGS_MAX + 19}`);
    expect(store.find<SeenRow>(keys.eventSenders(environment))?.length).toBe(SENDERS_MAX);
    expect(rowCount(keys.flagUsages(environment))).toBe(1);
  });

  it('keeps sums that are whole numbers, however often somebody tells of 10^12', async () => {
    const counts = Array.from({ length: 1_000 }, () => ({ flag: 'gate', variation: 'on', count: 1_000_000_000_000 }));
    const unknown = counts.map((entry) => ({ ...entry, flag: 'none' }));
    for (let index = 0; index < 10; index += 1) {
      await take([{ id: newId(), kind: 'summary', from: 0, to: now, counts }], { origin: 'srv' });
      await take([{ id: newId(), kind: 'summary', from: 0, to: now, counts }], { origin: 'node' });
      await take([{ id: newId(), kind: 'summary', from: 0, to: now, counts: unknown }]);
    }
    now += HOUR_MS;
    await take([{ id: newId(), kind: 'summary', from: 0, to: now, counts }]);
    const most = Number.MAX_SAFE_INTEGER;
    expect(totalOf('gate').evaluations).toEqual({ on: most });
    expect(totalOf(ALL_FLAGS, 'minute').evaluations).toEqual({ '': most });
    expect(store.find(keys.flagUsage(environment, 'gate'))).toMatchObject({ evaluations: most });
    expect(store.find<SeenRow>(keys.unknownFlags(environment))?.[0]?.[1].count).toBe(most);
  });

  it('counts and does not keep exposures beyond what a day may have', async () => {
    const head: EventLogHead = { nextSequence: 7, bytes: 64 * 1024 * 1024, events: 6, dropped: 0 };
    await store.transaction((transaction) => transaction.put(keys.eventLogHead(environment, 20_000), head));
    await take([exposure(), exposure()]);
    expect(store.find(keys.eventLogHead(environment, 20_000))).toEqual({ ...head, dropped: 2 });
    expect(rowCount(keys.eventLogs(environment))).toBe(0);
    expect(totalOf('gate').exposures).toEqual({ on: 2 });
  });

  it('refuses what would wait beyond its bound', async () => {
    const body = 'x'.repeat(40 * 1024 * 1024);
    const message = encodeEventMessage({ environment, origin: 'srv', receivedAt: now, events: [exposure()] });
    const first = intake.take(`${message}\n${body}`);
    const second = intake.take(`${message}\n${body}`);
    const outcomes = await Promise.allSettled([first, second, intake.take(`${message}\n${body}`)]);
    expect(outcomes.map(({ status }) => status)).toContain('rejected');
    expect(outcomes.at(-1)).toMatchObject({ reason: { code: 'overloaded' } });
  });
});

describe('EventSweep', () => {
  it('lets go of each thing when its time has come, and of nothing else', async () => {
    const sweep = new EventSweep({ store, now: () => now });
    await take([summary('gate'), exposure()]);
    const left = () => ({
      seen: rowCount(keys.eventsSeen(environment)),
      minutes: rowCount(keys.usageMinutesRows(environment)),
      hours: rowCount(keys.usageHoursRows(environment)),
      log: rowCount(keys.eventLogs(environment)) + rowCount(keys.eventLogHeads(environment)),
    });
    const whole = { seen: 2, minutes: 2, hours: 2, log: 2 };
    const after = async (ms: number) => {
      now += ms;
      await sweep.sweep();
      return left();
    };
    expect(await after(0)).toEqual(whole);
    expect(await after(1.5 * DAY_MS - 1)).toEqual(whole);
    expect(await after(1)).toEqual({ ...whole, seen: 0 });
    expect(await after(DAY_MS)).toEqual({ ...whole, seen: 0, minutes: 0 });
    expect(await after(27 * DAY_MS)).toEqual({ ...whole, seen: 0, minutes: 0 });
    expect(await after(DAY_MS)).toEqual({ ...whole, seen: 0, minutes: 0, log: 0 });
    expect(totalOf(ALL_FLAGS).exposures).toEqual({ '': 1 });
    expect(await after(60 * DAY_MS)).toEqual({ seen: 0, minutes: 0, hours: 0, log: 0 });
  });
});
