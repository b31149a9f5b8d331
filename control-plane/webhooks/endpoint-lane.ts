import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TenantId } from '@guidon/protocol';
import type { Logger } from 'pino';
import type { Feed } from '../feed/feed.js';
import type { FeedRow } from '../feed/feed-row.js';
import type { ControlStore } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { DeliveryJournal } from './delivery-journal.js';
import {
  type DeliveryRow,
  keptAudiences,
  loggedBody,
  loggedHeaders,
  type RedeliveryOrder,
  type WebhookState,
} from './delivery-rows.js';
import { isFor } from './event-filter.js';
import type { FairSlots } from './fair-slots.js';
import { type RenderedMessage, renderMessage } from './render-message.js';
import { retryDelayMs } from './retry-schedule.js';
import { getWebhookState } from './webhook-read-model.js';
import { PURGE_FORMS, type WebhookHealth, type WebhookRecord } from './webhook-record.js';
import type { SentMessage, WebhookSender } from './webhook-sender.js';

/** Attempts for one event that fail in a row before the endpoint is called failing. */
export const FAILURES_UNTIL_FAILING = 3;
/** Rows of the feed that are read at once. */
const BATCH_ROWS = 100;
/** Events that are for others are passed over in memory; a restart reads this many again at most. */
const UNWRITTEN_EVENTS_MAX = 200;
/** An endpoint that takes longer waits among the slow ones next time. */
const SLOW_MS = 2_000;

/** Time and chance, so that tests can lead them. */
export interface DispatchClock {
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Calls `work` after `ms`. Returns how to prevent it. */
  readonly after: (ms: number, work: () => void) => () => void;
}

export interface LaneTools {
  readonly store: ControlStore;
  readonly feed: Feed;
  readonly journal: DeliveryJournal;
  readonly sender: WebhookSender;
  readonly clock: DispatchClock;
  /** For endpoints that answer, and for those that fail or are slow: the latter never take a place of the former. */
  readonly slots: { readonly quick: FairSlots; readonly slow: FairSlots };
  /** Ends what is under way. */
  readonly signal: AbortSignal;
  /** Resolves when the receiver may be told. */
  readonly beforeSending: (webhook: WebhookRecord, event: FeedRow) => Promise<void>;
  /** Writes the endpoint's new health, with its audit entry and event, unless somebody has enabled it again since `webhook` was read. Never rejects. */
  readonly setHealth: (webhook: WebhookRecord, health: WebhookHealth, reason: string) => Promise<void>;
  readonly onOutcome: (outcome: DeliveryRow['outcome']) => void;
  /** The endpoint was deleted. */
  readonly onGone: (lane: EndpointLane) => void;
  readonly logger: Logger;
}

/** One event to be sent now. `order`: somebody ordered it again; else it is the next in the endpoint's own order. */
interface Job {
  readonly event: FeedRow;
  readonly order?: RedeliveryOrder;
}

/**
 * One endpoint: events in the order of the feed, one at a time; the next goes out when the one before was delivered. States: idle -> sending -> idle, or
 * waiting for the next attempt -> sending; gone when the endpoint is. What the store has of it is written by this lane alone.
 */
export class EndpointLane {
  readonly tenantId: TenantId;
  readonly webhookId: string;
  readonly #tools: LaneTools;
  #state: WebhookState;
  #writtenCursor: number;
  #running: Promise<void> | undefined;
  #isWoken = false;
  #isSlow = false;
  #cancelTimer: () => void = () => {};
  /** Orders that are done but perhaps not yet removed. */
  readonly #finishedOrders = new Set<string>();

  constructor({ tenantId, webhookId }: Pick<WebhookRecord, 'tenantId' | 'webhookId'>, tools: LaneTools) {
    this.tenantId = tenantId;
    this.webhookId = webhookId;
    this.#tools = tools;
    this.#state = getWebhookState(tools.store, tenantId, webhookId);
    this.#writtenCursor = this.#state.cursor;
  }

  /** There may be something to do. */
  wake(): void {
    this.#isWoken = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // Woken between the last look and now.
      if (this.#isWoken && !this.#tools.signal.aborted) this.wake();
    });
  }

  /** Ends waiting. What is under way ends by the signal of the tools. */
  async close(): Promise<void> {
    this.#cancelTimer();
    await this.#running;
  }

  /** Writes down what was sent outside of the order: tests and questions. */
  async record(
    kind: DeliveryRow['kind'],
    message: RenderedMessage,
    type: string,
    sent: SentMessage,
  ): Promise<DeliveryRow> {
    const row = this.#logRow(kind, message, { type, sequence: 0, attempt: 1, nextAt: null }, sent);
    await this.#note({ ...this.#state, logNext: row.number + 1 }, row);
    return row;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    while (this.#isWoken && !this.#tools.signal.aborted) {
      this.#isWoken = false;
      try {
        await this.#sendAll();
      } catch (error) {
        const { tenantId, webhookId } = this;
        this.#tools.logger.error({ err: error, tenantId, webhookId }, 'a webhook stands still until the next event');
      }
    }
  }

  async #sendAll(): Promise<void> {
    const { store, signal } = this.#tools;
    while (!signal.aborted && store.failure === undefined) {
      const webhook = store.find<WebhookRecord>(keys.webhook(this.tenantId, this.webhookId));
      if (webhook === undefined) this.#tools.onGone(this);
      if (webhook === undefined || !webhook.enabled || webhook.health === 'disabled' || webhook.form === 'policy') {
        this.#cancelTimer();
        return;
      }
      const job = this.#nextOrdered(webhook) ?? this.#nextInOrder(webhook);
      if (job === undefined) return;
      // Many events for others: everybody else has a turn, and the endpoint is looked at anew, for its filters may be others by then.
      if (job === 'more') await nextTurn();
      else await this.#perform(webhook, job);
    }
  }

  #nextOrdered(webhook: WebhookRecord): Job | 'more' | undefined {
    const { store, feed } = this.#tools;
    const range = keys.webhookRedeliveries(this.tenantId, this.webhookId);
    for (const { value: order } of store.list<RedeliveryOrder>(range)) {
      if (this.#finishedOrders.has(order.orderId)) continue;
      const { redelivery } = this.#state;
      const { orderId, from, to } = order;
      const next = redelivery?.orderId === orderId ? redelivery.next : from;
      if (next <= to) {
        const rows = feed.after(this.tenantId, next - 1, BATCH_ROWS);
        const event = rows.find((row) => row.sequence <= to && isForWebhook(webhook, row));
        if (event !== undefined) return { event, order };
        this.#state = { ...this.#state, redelivery: { orderId, next: (rows.at(-1)?.sequence ?? to) + 1 } };
        return 'more';
      }
      this.#finish(order);
    }
    return undefined;
  }

  #finish({ orderId }: RedeliveryOrder): void {
    if (this.#finishedOrders.size >= BATCH_ROWS) this.#finishedOrders.clear();
    this.#finishedOrders.add(orderId);
    const { redelivery: _, ...state } = this.#state;
    this.#state = state;
    const { tenantId, webhookId } = this;
    void this.#tools.journal.note({ tenantId, webhookId, state, finishedOrderId: orderId });
  }

  /** Undefined when there is none, or its time has not come: then the lane wakes up by itself. */
  #nextInOrder(webhook: WebhookRecord): Job | 'more' | undefined {
    const { feed, clock } = this.#tools;
    const { attempt } = this.#state;
    this.#cancelTimer();
    if (attempt !== undefined && attempt.enabledAt !== webhook.enabledAt) {
      const { attempt: _, ...state } = this.#state;
      this.#state = state;
    } else if (attempt !== undefined && attempt.nextAt > clock.now()) {
      this.#cancelTimer = clock.after(attempt.nextAt - clock.now(), () => this.wake());
      return undefined;
    }
    const { start } = feed.bounds(this.tenantId);
    // Events that the feed keeps no longer are lost to the endpoint, and the next one says so: it names another before it than the receiver had.
    if (start > this.#state.cursor) this.#state = { ...this.#state, cursor: start, deliveredSequence: start };
    const rows = feed.after(this.tenantId, this.#state.cursor, BATCH_ROWS);
    for (const event of rows) {
      if (isForWebhook(webhook, event)) return { event };
      this.#state = { ...this.#state, cursor: event.sequence };
    }
    if (this.#state.cursor - this.#writtenCursor > UNWRITTEN_EVENTS_MAX) void this.#note(this.#state);
    return rows.length < BATCH_ROWS ? undefined : 'more';
  }

  async #perform(webhook: WebhookRecord, { event, order }: Job): Promise<void> {
    const { slots, sender, signal, beforeSending } = this.#tools;
    const pool = this.#isSlow || this.#state.attempt !== undefined ? slots.slow : slots.quick;
    const giveBack = await pool.take(this.tenantId);
    const message = renderMessage(webhook, event, order === undefined ? this.#state.deliveredSequence : 0);
    let sent: SentMessage;
    try {
      if (signal.aborted) return;
      await beforeSending(webhook, event);
      sent = await sender.send(webhook, message, { signal });
    } finally {
      giveBack();
    }
    // Ended half-way: nobody can say whether it arrived, so the next start sends it again.
    if (signal.aborted) return;
    this.#isSlow = sent.result.latencyMs > SLOW_MS;
    this.#tools.onOutcome(sent.result.outcome);
    if (order === undefined) await this.#settle(webhook, event, message, sent);
    else await this.#settleOrdered(event, order, message, sent);
  }

  async #settleOrdered(
    event: FeedRow,
    order: RedeliveryOrder,
    message: RenderedMessage,
    sent: SentMessage,
  ): Promise<void> {
    const { type, sequence } = event;
    const row = this.#logRow('redelivery', message, { type, sequence, attempt: 1, nextAt: null }, sent);
    const redelivery = { orderId: order.orderId, next: sequence + 1 };
    await this.#note({ ...this.#state, redelivery, logNext: row.number + 1 }, row);
  }

  async #settle(webhook: WebhookRecord, event: FeedRow, message: RenderedMessage, sent: SentMessage): Promise<void> {
    const { clock, setHealth } = this.#tools;
    const { attempt: before, ...rest } = this.#state;
    const { type, sequence } = event;
    const { outcome, retryAfterMs, status, detail } = sent.result;
    const count = (before?.count ?? 0) + 1;
    if (outcome === 'delivered') {
      const row = this.#logRow('event', message, { type, sequence, attempt: count, nextAt: null }, sent);
      await this.#note({ ...rest, cursor: sequence, deliveredSequence: sequence, logNext: row.number + 1 }, row);
      if (webhook.health === 'failing') await setHealth(webhook, 'ok', '');
      return;
    }
    const delayMs = outcome === 'gone' ? undefined : retryDelayMs(count, { retryAfterMs, random: clock.random() });
    const at = clock.now();
    const nextAt = delayMs === undefined ? null : Math.ceil(at + delayMs);
    const row = this.#logRow('event', message, { type, sequence, attempt: count, nextAt }, sent);
    const { enabledAt } = webhook;
    await this.#note({ ...rest, attempt: { count, nextAt: nextAt ?? at, enabledAt }, logNext: row.number + 1 }, row);
    const answer = status === undefined ? (detail ?? outcome) : `status ${status}`;
    if (outcome === 'gone') await setHealth(webhook, 'disabled', 'the receiver answered 410: it wants no more');
    else if (nextAt === null) await setHealth(webhook, 'disabled', `${count} attempts failed, the last with ${answer}`);
    else if (count >= FAILURES_UNTIL_FAILING && webhook.health === 'ok') {
      await setHealth(webhook, 'failing', `${count} attempts failed, the last with ${answer}`);
    }
  }

  #note(state: WebhookState, delivery?: DeliveryRow): Promise<void> {
    this.#state = state;
    this.#writtenCursor = state.cursor;
    const { tenantId, webhookId } = this;
    return this.#tools.journal.note({ tenantId, webhookId, state, delivery });
  }

  #logRow(
    kind: DeliveryRow['kind'],
    { id, body, audiences }: RenderedMessage,
    about: Pick<DeliveryRow, 'type' | 'sequence' | 'attempt' | 'nextAt'>,
    { request, result }: SentMessage,
  ): DeliveryRow {
    const { outcome, latencyMs, status, headers = {}, body: answered, detail = '' } = result;
    const sentBody = Buffer.from(body);
    return {
      number: this.#state.logNext,
      kind,
      at: Math.round(this.#tools.clock.now() - latencyMs),
      messageId: id,
      ...about,
      ...keptAudiences(audiences),
      outcome,
      latencyMs,
      detail,
      request: { ...request, body: loggedBody(sentBody), bodyBytes: sentBody.length },
      response:
        status === undefined
          ? null
          : { status, headers: loggedHeaders(headers), body: loggedBody(answered ?? Buffer.alloc(0)) },
    };
  }
}

function isForWebhook(webhook: WebhookRecord, { type, projectId, environmentId, audience }: FeedRow): boolean {
  if (PURGE_FORMS.has(webhook.form) && type !== 'environment.revision') return false;
  const { path, tags } = audience;
  return isFor(webhook, webhook.place, { type, projectId, environmentId, path, tags });
}

const TIMER_MS_MAX = 24 * 3_600_000;

/** The clock of the process. */
export const SYSTEM_CLOCK: DispatchClock = {
  now: Date.now,
  random: Math.random,
  after: (ms, work) => {
    // Longer ones would end at once. Who is woken before his time looks at the clock and waits on.
    const timer = setTimeout(work, Math.min(ms, TIMER_MS_MAX));
    return () => clearTimeout(timer);
  },
};
