import { type EnvironmentRef, isSameEnvironment } from '@guidon/protocol';
import type { ReceivedEvents } from '@guidon/protocol/events';
import type { FlagRecord } from '../flags/flag-record.js';
import type { StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { countedAt, EventTally } from './event-tally.js';
import { ExposedSubjects } from './exposed-subjects.js';
import { addMetric, joinMetricSums, type MetricSums, metricKeysOf } from './metric-sums.js';
import { addToBuckets } from './usage-buckets.js';
import { usageKeysOf } from './usage-read-model.js';
import {
  DAY_MS,
  EVENT_LOG_BYTES_MAX,
  type EventLogHead,
  type FlagUsageRow,
  joinCounts,
  MINUTE_MS,
  SENDERS_MAX,
  type SeenRow,
  see,
  sumOfCounts,
  UNKNOWN_FLAGS_MAX,
} from './usage-rows.js';

export interface EventOutcome {
  readonly accepted: number;
  readonly duplicates: number;
  /** Of environments that are not there. */
  readonly homeless: number;
}

/** As keys of flags are; anything else is asked of no row. */
const FLAG_KEY = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Counts messages inside one transaction: the ids that have been seen and all that they add to change together, so that an event that comes again
 * within its day or the next is counted once, whatever is killed when. `now`: of this control plane, which decides the day.
 */
export function writeEvents(
  transaction: StoreTransaction,
  messages: readonly ReceivedEvents[],
  now: number,
): EventOutcome {
  const today = Math.floor(now / DAY_MS);
  const tallies = new Map<string, { environment: EnvironmentRef; tally: EventTally }>();
  let accepted = 0;
  let duplicates = 0;
  let homeless = 0;
  for (const message of messages) {
    const { environment } = message;
    const known = transaction.find<EnvironmentRef>(keys.environmentOwner(environment.environmentId));
    if (known === undefined || !isSameEnvironment(known, environment)) {
      homeless += message.events.length;
      continue;
    }
    const { tally } = tallyOf(tallies, transaction, environment, now);
    const fresh = message.events.filter(({ id }) => isFirst(transaction, environment, today, id));
    for (const event of fresh) tally.add(message, event);
    tally.addSender(message, fresh.length);
    accepted += fresh.length;
    duplicates += message.events.length - fresh.length;
  }
  for (const { environment, tally } of tallies.values()) writeTally(transaction, environment, tally, now);
  return { accepted, duplicates, homeless };
}

function tallyOf(
  tallies: Map<string, { environment: EnvironmentRef; tally: EventTally }>,
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  now: number,
): { environment: EnvironmentRef; tally: EventTally } {
  const known = tallies.get(environment.environmentId);
  if (known !== undefined) return known;
  const flags = new Map<string, boolean>();
  const isFlag = (key: string): boolean => {
    const isKnown = flags.get(key);
    if (isKnown !== undefined) return isKnown;
    const { tenantId, projectId } = environment;
    const isThere =
      FLAG_KEY.test(key) && transaction.find<FlagRecord>(keys.flag(tenantId, projectId, key)) !== undefined;
    flags.set(key, isThere);
    return isThere;
  };
  const made = { environment, tally: new EventTally(isFlag, now) };
  tallies.set(environment.environmentId, made);
  return made;
}

/** Remembers the id of an event that has not been counted yesterday or today. */
function isFirst(transaction: StoreTransaction, environment: EnvironmentRef, today: number, eventId: string): boolean {
  const key = keys.eventSeen(environment, today, eventId);
  if (transaction.has(key) || transaction.has(keys.eventSeen(environment, today - 1, eventId))) return false;
  transaction.put(key, 1);
  return true;
}

function writeTally(transaction: StoreTransaction, environment: EnvironmentRef, tally: EventTally, now: number): void {
  for (const [flag, minutes] of tally.buckets) {
    addToBuckets(transaction, usageKeysOf(environment, flag), minutes, joinCounts);
  }
  writeMetrics(transaction, environment, tally, now);
  for (const [flag, added] of tally.flags) writeFlag(transaction, environment, flag, added, now);
  addSeen(transaction, keys.unknownFlags(environment), tally.unknown, now, UNKNOWN_FLAGS_MAX);
  addSeen(transaction, keys.eventSenders(environment), tally.senders, now, SENDERS_MAX);
  writeLog(transaction, environment, tally, now);
}

/** Counts metric events with the variations that those had been exposed to who they are of. Exposures that come together with them come first. */
function writeMetrics(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  { logged }: EventTally,
  now: number,
): void {
  if (logged.length === 0) return;
  const subjects = new ExposedSubjects(transaction, environment, now);
  for (const event of logged) if (event.kind === 'exposure') subjects.expose(event, countedAt(event.at, now));
  subjects.write();
  const buckets = new Map<string, Map<number, MetricSums>>();
  for (const event of logged) {
    if (event.kind !== 'metric') continue;
    const at = countedAt(event.at, now);
    const minute = Math.floor(at / MINUTE_MS);
    for (const [flag, variation] of subjects.variationsAt(event.context, at)) {
      const minutes = buckets.get(flag) ?? new Map<number, MetricSums>();
      buckets.set(flag, minutes);
      const sums = minutes.get(minute) ?? {};
      minutes.set(minute, sums);
      addMetric(sums, variation, event.key, event.value);
    }
  }
  for (const [flag, minutes] of buckets) {
    addToBuckets(transaction, metricKeysOf(environment, flag), minutes, joinMetricSums);
  }
}

function writeFlag(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  flag: string,
  added: { readonly evaluations: number; readonly errors: number; readonly exposures: number },
  now: number,
): void {
  const key = keys.flagUsage(environment, flag);
  const before = transaction.find<FlagUsageRow>(key);
  const row: FlagUsageRow = {
    flag,
    firstSeenAt: before?.firstSeenAt ?? now,
    lastEvaluatedAt: added.evaluations + added.errors > 0 ? now : (before?.lastEvaluatedAt ?? null),
    lastExposedAt: added.exposures > 0 ? now : (before?.lastExposedAt ?? null),
    evaluations: sumOfCounts(before?.evaluations ?? 0, added.evaluations),
    errors: sumOfCounts(before?.errors ?? 0, added.errors),
    exposures: sumOfCounts(before?.exposures ?? 0, added.exposures),
  };
  transaction.put(key, row);
}

function addSeen(
  transaction: StoreTransaction,
  key: ReturnType<typeof keys.unknownFlags>,
  added: ReadonlyMap<string, number>,
  now: number,
  countMax: number,
): void {
  if (added.size === 0) return;
  const seen = new Map(transaction.find<SeenRow>(key));
  for (const [name, count] of added) see(seen, name, count, now, countMax);
  transaction.put(key, [...seen] satisfies SeenRow);
}

function writeLog(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  { logged }: EventTally,
  now: number,
): void {
  if (logged.length === 0) return;
  const day = Math.floor(now / DAY_MS);
  const headKey = keys.eventLogHead(environment, day);
  const head = transaction.find<EventLogHead>(headKey) ?? { nextSequence: 1, bytes: 0, events: 0, dropped: 0 };
  const bytes = Buffer.byteLength(JSON.stringify(logged));
  if (head.bytes + bytes > EVENT_LOG_BYTES_MAX) {
    transaction.put(headKey, { ...head, dropped: head.dropped + logged.length });
    return;
  }
  transaction.put(keys.eventLog(environment, day, head.nextSequence), logged);
  transaction.put(headKey, {
    ...head,
    nextSequence: head.nextSequence + 1,
    bytes: head.bytes + bytes,
    events: head.events + logged.length,
  });
}
