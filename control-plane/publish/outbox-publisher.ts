import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { type ChangeBus, type EnvironmentRef, messageIdOf, type SubjectTopic, subjectOf } from '@guidon/protocol';
import { encodeSigned } from '@guidon/protocol/msgpack';
import { context, ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import type { Logger } from 'pino';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import type { AccessStateRow } from '../commit/write-environment.js';
import type { ReleaseGate } from '../releases/release-gate.js';
import type { ControlStore, StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { contextOf, inSpan, traceparentNow } from '../tracing/in-span.js';
import { busMessage, findAccessList } from './config-message.js';
import { type OutboxRow, putOutboxRow } from './outbox-row.js';

const PUBLISH_DEADLINE_MS = 5_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 2_000;
/** How long rows of what is published stay at most: many are told in one transaction, so that a write does not cost two commits. */
const MARK_DELAY_MS = 100;
/** Environments published at the same time; the others wait in their outbox rows. */
const IN_FLIGHT_MAX = 32;
/** Requests of admins wait no longer than this many rows take. */
const ROWS_PER_TRANSACTION = 200;

/**
 * Publishes what the outbox says, at least once, one message in flight per environment and topic. A row stays until the bus took its newest
 * state, so a crash or a dead bus costs time only (I4); a bus that lost its memory is given everything again. Per row: idle -> publishing -> (waiting -> publishing)* -> gone.
 */
export class OutboxPublisher {
  readonly #store: ControlStore;
  readonly #bus: ChangeBus;
  readonly #logger: Logger;
  readonly #releases: OutboxPublisherParts['releases'];
  /** Rows that are being published or wait for it, by topic and environment. */
  readonly #running = new Map<string, Promise<void>>();
  /** Rows that could not start because IN_FLIGHT_MAX others run; at most one entry per environment and topic. */
  readonly #waiting = new Map<string, Pending>();
  /** Since when each of these has something to publish, the first first. */
  readonly #since = new Map<string, number>();
  /** The newest that the bus took of each row that does not say so yet, by topic and environment; emptied every MARK_DELAY_MS. */
  readonly #published = new Map<string, OutboxRow>();
  #markTimer: NodeJS.Timeout | undefined;
  readonly #stop = new AbortController();

  constructor({ store, bus, logger, releases }: OutboxPublisherParts) {
    this.#store = store;
    this.#bus = bus;
    this.#logger = logger;
    this.#releases = releases;
    bus.onLost(() => this.#publishAgain());
  }

  /** What waits or is on its way. */
  get backlog(): { readonly count: number; readonly oldestSeconds: number } {
    const [oldest] = this.#since.values();
    const oldestSeconds = oldest === undefined ? 0 : (performance.now() - oldest) / 1_000;
    return { count: this.#since.size, oldestSeconds };
  }

  /** Takes up everything that an earlier process left. */
  resume(): void {
    for (const { value } of this.#store.list<OutboxRow>(keys.outboxRows())) this.wake(value.topic, value);
  }

  /** What the bus kept is gone: puts the newest of every environment into the outbox again, durably, before the bus goes on. */
  async #publishAgain(): Promise<void> {
    this.#published.clear();
    const environments = this.#store.list<EnvironmentRef>(keys.environmentOwners()).map(({ value }) => value);
    for (let from = 0; from < environments.length; from += ROWS_PER_TRANSACTION) {
      await this.#store.transaction((transaction) => {
        for (const environment of environments.slice(from, from + ROWS_PER_TRANSACTION)) {
          const state = transaction.find<EnvironmentStateRow>(keys.environmentState(environment));
          const access = transaction.find<AccessStateRow>(keys.accessState(environment));
          if (state === undefined || access === undefined) continue;
          const { epoch } = state;
          putOutboxRow(transaction, environment, { topic: 'config', epoch, to: state.revision });
          putOutboxRow(transaction, environment, { topic: 'access', epoch, to: access.sequence });
        }
      });
    }
    this.resume();
  }

  /** There may be a new row. */
  wake(topic: SubjectTopic, environment: EnvironmentRef): void {
    const name = nameOf(topic, environment);
    if (this.#stop.signal.aborted) return;
    if (!this.#since.has(name)) this.#since.set(name, performance.now());
    if (this.#running.has(name) || this.#running.size >= IN_FLIGHT_MAX) {
      this.#waiting.set(name, { topic, environment });
      return;
    }
    const done = this.#publishAll(topic, environment).finally(() => {
      this.#running.delete(name);
      if (!this.#waiting.has(name)) this.#since.delete(name);
      this.#startNext(name);
    });
    this.#running.set(name, done);
  }

  /** Lets what is on its way arrive, starts nothing new. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#waiting.clear();
    await Promise.all(this.#running.values());
    clearTimeout(this.#markTimer);
    await this.#mark();
  }

  #startNext(name: string): void {
    const [next, pending] = (this.#waiting.has(name) ? [name, this.#waiting.get(name)] : [...this.#waiting][0]) ?? [];
    if (next === undefined || pending === undefined) return;
    this.#waiting.delete(next);
    this.wake(pending.topic, pending.environment);
  }

  /** Never rejects. */
  async #publishAll(topic: SubjectTopic, environment: EnvironmentRef): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    let isRetry = false;
    // Whoever wrote it is answered first, and others of the same commit are published with it.
    await setImmediate();
    while (!this.#stop.signal.aborted && this.#store.failure === undefined) {
      try {
        const row = this.#findUnpublished(topic, environment);
        if (row === undefined) return;
        await this.#publish(row);
        this.#published.set(nameOf(topic, row), row);
        this.#markTimer ??= setTimeout(() => void this.#mark(), MARK_DELAY_MS);
        retryMs = RETRY_MS_MIN;
        isRetry = false;
      } catch (error) {
        // Once: a bus may be away for days.
        const { tenantId, environmentId } = environment;
        if (!isRetry)
          this.#logger.warn({ err: error, topic, tenantId, environmentId }, 'not published; it stays in the outbox');
        isRetry = true;
        await sleep(Math.random() * retryMs, undefined, { signal: this.#stop.signal }).catch(() => {});
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
  }

  /** In the trace of the write, which nodes go on with. */
  #publish(row: OutboxRow): Promise<void> {
    const { topic, environmentId, to, traceparent } = row;
    const send = async (): Promise<void> => {
      const sent = this.#bus.publish(subjectOf(topic, row), this.#messageOf(row), messageIdOf(topic, row));
      await withDeadline(sent, PUBLISH_DEADLINE_MS);
    };
    if (traceparent === undefined) return context.with(ROOT_CONTEXT, send);
    const position = topic === 'config' ? { 'guidon.revision': to } : { 'guidon.access.sequence': to };
    const attributes = { 'guidon.topic': topic, 'guidon.environment.id': environmentId, ...position };
    return inSpan('publish', { kind: SpanKind.PRODUCER, attributes, parent: contextOf(traceparent) }, send);
  }

  #messageOf(row: OutboxRow): Uint8Array {
    if (row.topic === 'config') return busMessage(this.#store, row, traceparentNow());
    const accessList = findAccessList(this.#store, row);
    if (accessList === undefined) throw new Error('an outbox row names an environment without an access list');
    return encodeSigned(accessList);
  }

  /** The bus carries what all nodes may have: what goes through canaries first stays in its row until it is released. */
  #findUnpublished(topic: SubjectTopic, environment: EnvironmentRef): OutboxRow | undefined {
    const row = this.#store.find<OutboxRow>(keys.outbox(topic, environment.environmentId));
    if (row === undefined) return undefined;
    const held = topic === 'config' ? this.#releases.revisionFor(environment, false) : undefined;
    const to = held ?? row.to;
    const published = this.#published.get(nameOf(topic, environment));
    const from = published?.epoch === row.epoch ? published.to : row.from;
    if (held !== undefined && to <= from) return undefined;
    return published?.epoch === row.epoch && to === from ? undefined : { ...row, from, to };
  }

  /** Never rejects. What was committed while a message was on its way still has to go out, so its row stays. */
  async #mark(): Promise<void> {
    this.#markTimer = undefined;
    const all = [...this.#published];
    if (all.length === 0 || this.#store.failure !== undefined) return;
    try {
      await this.#store.transaction((transaction) => {
        for (const [, published] of all) markPublished(transaction, published);
      });
      for (const [name, published] of all) if (this.#published.get(name) === published) this.#published.delete(name);
    } catch (error) {
      // A restart publishes them again, which is harmless; the next mark takes them along.
      this.#logger.warn({ err: error }, 'what is published was not marked so');
    }
  }
}

function markPublished(transaction: StoreTransaction, published: OutboxRow): void {
  const key = keys.outbox(published.topic, published.environmentId);
  const row = transaction.find<OutboxRow>(key);
  if (row === undefined) return;
  if (row.to === published.to && row.epoch === published.epoch) transaction.remove(key);
  else if (row.epoch === published.epoch) transaction.put(key, { ...row, from: published.to } satisfies OutboxRow);
}

const nameOf = (topic: SubjectTopic, { environmentId }: EnvironmentRef): string => `${topic}/${environmentId}`;

export interface OutboxPublisherParts {
  readonly store: ControlStore;
  readonly bus: ChangeBus;
  readonly logger: Logger;
  readonly releases: Pick<ReleaseGate, 'revisionFor'>;
}

interface Pending {
  readonly topic: SubjectTopic;
  readonly environment: EnvironmentRef;
}

/** A bus that does not answer counts as one that refused: the message goes out again (M10). */
function withDeadline(work: Promise<void>, deadlineMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the bus did not answer in time')), deadlineMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
