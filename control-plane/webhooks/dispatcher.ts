import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { type Json, PlatformError, parseTenantId, type TenantId } from '@guidon/protocol';
import { SYSTEM_ACTOR } from '../admin-api/actor.js';
import type { Action } from '../admin-api/policy.js';
import type { ControlPlaneCore } from '../core.js';
import type { FeedRow } from '../feed/feed-row.js';
import type { Propagation } from '../nodes/propagation.js';
import { keys, lastPart } from '../store/keys.js';
import { DeliveryJournal } from './delivery-journal.js';
import type { DeliveryRow } from './delivery-rows.js';
import { type DispatchClock, EndpointLane, type LaneTools, SYSTEM_CLOCK } from './endpoint-lane.js';
import { FairSlots } from './fair-slots.js';
import { type RenderedMessage, renderMessage } from './render-message.js';
import { findWebhook, getWebhook, listWebhooks } from './webhook-read-model.js';
import { PURGE_FORMS, type WebhookHealth, type WebhookRecord } from './webhook-record.js';
import type { SentMessage, WebhookSender } from './webhook-sender.js';
import { changeOf } from './webhook-service.js';

/** Requests under way at a time; endpoints that fail or are slow have places of their own. */
const QUICK_SLOTS = { total: 128, perTenant: 48 } as const;
const SLOW_SLOTS = { total: 64, perTenant: 16 } as const;
/** Tests and questions under way at one endpoint. */
const ASIDE_MAX = 1;
/** How long a purge waits until nodes serve what the cache is to fetch. */
const PROPAGATION_MS_MAX = 2_000;

const ACTIONS: Readonly<Record<WebhookHealth, Action>> = {
  ok: 'webhook.recover',
  failing: 'webhook.fail',
  disabled: 'webhook.disable',
};

/**
 * Delivers the feeds of all tenants to their endpoints, at least once and in order. The queue is the feed; the store remembers per endpoint how far it has
 * got, so a kill loses nothing and the next start goes on with the same ids. A lane per endpoint; none waits for another.
 */
export class Dispatcher {
  readonly #core: ControlPlaneCore;
  readonly #sender: WebhookSender;
  readonly #journal: DeliveryJournal;
  /** By tenant and endpoint. */
  readonly #lanes = new Map<TenantId, Map<string, EndpointLane>>();
  readonly #tools: LaneTools;
  readonly #stop = new AbortController();
  readonly #outcomes = new Map<string, number>();
  readonly #aside = new Map<string, number>();
  #unsubscribe: () => void = () => {};

  constructor(
    core: ControlPlaneCore,
    options: { readonly sender: WebhookSender; readonly propagation: Propagation; readonly clock?: DispatchClock },
  ) {
    const { sender, propagation, clock = { ...SYSTEM_CLOCK, now: core.now } } = options;
    const { store, feed, logger } = core;
    // One listener per request under way, of which slots are the bound.
    setMaxListeners(0, this.#stop.signal);
    this.#core = core;
    this.#sender = sender;
    this.#journal = new DeliveryJournal(store, logger, clock.now);
    this.#tools = {
      store,
      feed,
      journal: this.#journal,
      sender,
      clock,
      slots: { quick: new FairSlots(QUICK_SLOTS), slow: new FairSlots(SLOW_SLOTS) },
      signal: this.#stop.signal,
      beforeSending: async ({ form, tenantId }, event) => {
        if (PURGE_FORMS.has(form)) await waitForNodes(propagation, tenantId, event);
      },
      setHealth: (webhook, health, reason) => this.#setHealth(webhook, health, reason),
      onGone: (lane) => this.#forget(lane),
      logger,
      onOutcome: (outcome) => this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1),
    };
  }

  /** Endpoints of which something is in memory. */
  get laneCount(): number {
    return [...this.#lanes.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Attempts since the start, by outcome. */
  get outcomes(): ReadonlyMap<string, number> {
    return this.#outcomes;
  }

  /** Goes on with everything that an earlier process left. */
  start(): void {
    const { feed, removals } = this.#core;
    const unsubscribes = [
      feed.onAppended((tenantId) => this.wake(tenantId)),
      // Nothing is appended any more for lanes to notice that their endpoints are gone.
      removals.onRemoved((tenantId) => this.wake(tenantId)),
    ];
    this.#unsubscribe = () => {
      for (const unsubscribe of unsubscribes) unsubscribe();
    };
    for (const { key } of this.#core.store.list(keys.tenants())) this.wake(parseTenantId(lastPart(key)));
  }

  /** The tenant has new events, or an endpoint of it something else to do. */
  wake(tenantId: TenantId): void {
    if (this.#stop.signal.aborted) return;
    for (const webhook of listWebhooks(this.#core.store, tenantId)) this.#laneOf(webhook);
    // Lanes of endpoints that were deleted too: they see it and go.
    for (const lane of this.#lanes.get(tenantId)?.values() ?? []) lane.wake();
  }

  /** Sends an event of the type `webhook.test` at once, outside of the order. */
  async test(webhook: WebhookRecord): Promise<DeliveryRow> {
    const { tenantId, webhookId, form } = webhook;
    const message = testMessageOf(webhook, this.#core.now());
    const sent = await this.#sendAside(webhook, message, {});
    const { store } = this.#core;
    return this.#laneOf(getWebhook(store, tenantId, webhookId)).record(
      form === 'policy' ? 'policy' : 'test',
      message,
      TEST_TYPE,
      sent,
    );
  }

  /** Sends a question to an endpoint and writes down what it answered. */
  async ask(webhook: WebhookRecord, message: RenderedMessage): Promise<SentMessage> {
    const sent = await this.#sender.send(webhook, message, {
      deadlineMs: webhook.timeoutMs,
      signal: this.#stop.signal,
    });
    this.#tools.onOutcome(sent.result.outcome);
    // One that was deleted meanwhile has no log any more.
    const { tenantId, webhookId } = webhook;
    const found = findWebhook(this.#core.store, tenantId, webhookId);
    if (found !== undefined) await this.#laneOf(found).record('policy', message, QUESTION_TYPE, sent);
    return sent;
  }

  /** Ends what is under way and writes down what is known. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#unsubscribe();
    await Promise.all([...this.#lanes.values()].flatMap((lanes) => [...lanes.values()]).map((lane) => lane.close()));
    await this.#journal.flush();
    await this.#sender.close();
  }

  async #sendAside(webhook: WebhookRecord, message: RenderedMessage, options: object): Promise<SentMessage> {
    const { webhookId } = webhook;
    const count = this.#aside.get(webhookId) ?? 0;
    if (count >= ASIDE_MAX) throw new PlatformError('rate-limited', 'a test of this endpoint is under way');
    this.#aside.set(webhookId, count + 1);
    try {
      return await this.#sender.send(webhook, message, { ...options, signal: this.#stop.signal });
    } finally {
      this.#aside.delete(webhookId);
    }
  }

  #laneOf(webhook: Pick<WebhookRecord, 'tenantId' | 'webhookId'>): EndpointLane {
    const { tenantId, webhookId } = webhook;
    const lanes = this.#lanes.get(tenantId) ?? new Map<string, EndpointLane>();
    const known = lanes.get(webhookId);
    if (known !== undefined) return known;
    const lane = new EndpointLane(webhook, this.#tools);
    this.#lanes.set(tenantId, lanes.set(webhookId, lane));
    return lane;
  }

  #forget({ tenantId, webhookId }: EndpointLane): void {
    const lanes = this.#lanes.get(tenantId);
    lanes?.delete(webhookId);
    if (lanes?.size === 0) this.#lanes.delete(tenantId);
  }

  /** Never rejects: what cannot be written now shows itself again at the next attempt. */
  async #setHealth(webhook: WebhookRecord, health: WebhookHealth, reason: string): Promise<void> {
    const { store, committer, logger } = this.#core;
    const { tenantId, webhookId, enabledAt } = webhook;
    const write = { actor: SYSTEM_ACTOR, requestId: randomUUID(), dryRun: false };
    try {
      await committer.commit(write, undefined, () => {
        const before = findWebhook(store, tenantId, webhookId);
        if (before === undefined) throw new PlatformError('not-found', 'the endpoint was deleted meanwhile');
        if (before.enabledAt !== enabledAt) {
          throw new PlatformError('conflict', 'what was seen is of before the endpoint was enabled again');
        }
        const after: WebhookRecord = { ...before, health, healthReason: reason, version: before.version + 1 };
        return {
          ...changeOf(before, after),
          action: ACTIONS[health],
          summary: `Webhook ${after.name} ${SENTENCES[health]}${reason === '' ? '' : `: ${reason}`}`,
          reply: () => ({ status: 204, body: undefined }),
        };
      });
    } catch (error) {
      logger.warn({ err: error, tenantId, webhookId, health }, 'the health of a webhook was not written down');
    }
  }
}

const SENTENCES: Readonly<Record<WebhookHealth, string>> = {
  ok: 'is well again',
  failing: 'is failing',
  disabled: 'was disabled',
};

const TEST_TYPE = 'webhook.test';
const QUESTION_TYPE = 'policy.question';

/** Looks like an event, but has no place in the feed. */
function testMessageOf(webhook: WebhookRecord, at: number): RenderedMessage {
  const subject = `webhooks/${webhook.webhookId}`;
  const data: Json = { message: 'This is a test' };
  const actor = { kind: 'system', credentialId: 'system', name: 'Guidon' };
  const action: Action = 'webhook.test';
  const audience = { action, path: '', tags: [] };
  const summary = `Test of webhook ${webhook.name}`;
  const event: FeedRow = {
    sequence: 0,
    type: TEST_TYPE,
    subject,
    at,
    actor,
    action,
    summary,
    auditSequence: 0,
    data,
    audience,
  };
  const { environmentId } = webhook.place ?? {};
  const message = renderMessage(webhook, environmentId === undefined ? event : { ...event, environmentId }, 0);
  // It tells of nothing.
  return { ...message, audiences: [] };
}

/** A cache that is told before would fetch the revision before once more. */
async function waitForNodes(propagation: Propagation, tenantId: TenantId, event: FeedRow): Promise<void> {
  const { projectId, environmentId, revision, data } = event;
  if (projectId === undefined || environmentId === undefined || revision === undefined) return;
  const epoch = typeof data === 'object' && data !== null && 'epoch' in data ? Number(data.epoch) : 1;
  await propagation.wait(
    [{ environment: { tenantId, projectId, environmentId }, epoch, revision }],
    PROPAGATION_MS_MAX,
  );
}
