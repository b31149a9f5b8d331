import { PlatformError } from '@guidon/protocol';
import type { Actor } from '../admin-api/actor.js';
import { MERGE_PATCH } from '../admin-api/patch.js';
import { notFound } from '../admin-api/problems.js';
import type { WriteRequest } from '../commit/change.js';
import { etagOf } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { getEnvironment } from '../environments/environment-read-model.js';
import { REASON_CHARS_MAX } from '../flag-health/flag-health-record.js';
import { FlagHealthService } from '../flag-health/flag-health-service.js';
import { getTargeting } from '../flags/flag-store.js';
import { TargetingService } from '../flags/targeting-service.js';
import { keys } from '../store/keys.js';
import { type FiringBody, HANDLED_MAX, type TriggerRecord, type TriggerState } from './trigger-record.js';
import { findTriggerOf } from './trigger-service.js';

/** Firings of one trigger that are let through, and in which time they come back one by one. */
export const FIRINGS_MAX = 30;
const FIRINGS_WINDOW_MS = 60_000;
/** Triggers beyond this many push out the one that fired longest ago. */
const TRIGGERS_COUNTED_MAX = 10_000;
const ATTEMPTS_MAX = 3;

type Alert = NonNullable<NonNullable<FiringBody>['alerts']>[number];

/** Does what a trigger is for, as the trigger: with an actor of its own that may do just that, so that the log says what did it. */
export class TriggerFiring {
  readonly #core: ControlPlaneCore;
  readonly #targeting: TargetingService;
  readonly #health: FlagHealthService;
  readonly #monotonicNow: () => number;
  /** How many are left, and of when that is; least recently used first. */
  readonly #left = new Map<string, { count: number; atMs: number }>();

  constructor(core: ControlPlaneCore, monotonicNow: () => number = () => performance.now()) {
    this.#core = core;
    this.#targeting = new TargetingService(core);
    this.#health = new FlagHealthService(core);
    this.#monotonicNow = monotonicNow;
  }

  /** True when something changed by it. Throws the common 404 for every token that is none. */
  async fire(write: WriteRequest, token: string, body: FiringBody): Promise<boolean> {
    const trigger = findTriggerOf(this.#core.store, token);
    if (trigger === undefined) throw notFound();
    this.#admit(trigger.triggerId);
    const alerts = body?.alerts;
    const { tenantId, triggerId } = trigger;
    const handled = new Set(this.#core.store.find<TriggerState>(keys.triggerState(tenantId, triggerId))?.handled);
    const isNews = (alert: Alert): boolean => !handled.has(nameOf(alert));
    const firing = alerts?.filter((alert) => alert.status === 'firing' && isNews(alert));
    const resolved = alerts?.filter((alert) => alert.status === 'resolved' && isNews(alert));
    const reason = reasonOf(trigger, firing);
    let hasChanged = false;
    if (firing === undefined || firing.length > 0) hasChanged = await this.#act(write, trigger, 'unhealthy', reason);
    // An alert that is still firing beside the one that ended keeps the flag unhealthy.
    else if ((resolved?.length ?? 0) > 0 && !alerts?.some(({ status }) => status === 'firing')) {
      hasChanged = await this.#act(write, trigger, 'ok', '');
    }
    // After the act: a kill in between acts again, which changes nothing.
    const news = [...(firing ?? []), ...(resolved ?? [])].map(nameOf);
    if (news.length > 0) await this.#remember(trigger, news);
    return hasChanged;
  }

  async #act(
    write: WriteRequest,
    trigger: TriggerRecord,
    health: 'ok' | 'unhealthy',
    reason: string,
  ): Promise<boolean> {
    const as = { ...write, actor: actorOf(trigger), comment: reason, dryRun: false };
    const { flagKey } = trigger;
    if (trigger.effect === 'turn-off') return health === 'unhealthy' && this.#turnOff(as, trigger);
    const before = this.#health.find(trigger, flagKey);
    if ((before?.health ?? 'ok') === health) return false;
    await this.#health.mark(as, trigger, flagKey, { health, reason });
    return true;
  }

  /** Somebody may edit the flag at the same moment: a kill switch does not lose to that. */
  async #turnOff(write: WriteRequest, trigger: TriggerRecord): Promise<boolean> {
    for (let attempt = 1; ; attempt += 1) {
      const { environment } = getEnvironment(this.#core.store, trigger);
      const { targeting, version } = getTargeting(this.#core.store, environment, trigger.flagKey);
      if (!targeting.on) return false;
      const patch = { type: MERGE_PATCH, document: { on: false } } as const;
      try {
        await this.#targeting.update({ ...write, ifMatch: [etagOf(version)] }, trigger, trigger.flagKey, patch);
        return true;
      } catch (error) {
        const isOvertaken = error instanceof PlatformError && error.code === 'revision-conflict';
        if (!isOvertaken || attempt >= ATTEMPTS_MAX) throw error;
      }
    }
  }

  async #remember({ tenantId, triggerId }: TriggerRecord, news: readonly string[]): Promise<void> {
    const key = keys.triggerState(tenantId, triggerId);
    await this.#core.store.transaction((transaction) => {
      // Deleted meanwhile: nothing is written below it any more.
      if (!transaction.has(keys.trigger(tenantId, triggerId))) return;
      const { handled = [] } = transaction.find<TriggerState>(key) ?? {};
      const state: TriggerState = { handled: [...new Set([...handled, ...news])].slice(-HANDLED_MAX) };
      transaction.put(key, state);
    });
  }

  #admit(triggerId: string): void {
    const nowMs = this.#monotonicNow();
    const before = this.#left.get(triggerId) ?? { count: FIRINGS_MAX, atMs: nowMs };
    const gained = ((nowMs - before.atMs) / FIRINGS_WINDOW_MS) * FIRINGS_MAX;
    const count = Math.min(FIRINGS_MAX, before.count + gained);
    this.#left.delete(triggerId);
    this.#left.set(triggerId, { count: count < 1 ? count : count - 1, atMs: nowMs });
    const [oldest] = this.#left.keys();
    if (this.#left.size > TRIGGERS_COUNTED_MAX && oldest !== undefined) this.#left.delete(oldest);
    if (count >= 1) return;
    const retryAfterSeconds = Math.ceil(((1 - count) * FIRINGS_WINDOW_MS) / FIRINGS_MAX / 1_000);
    throw new PlatformError('rate-limited', `a trigger fires ${FIRINGS_MAX} times a minute at most`, {
      extensions: { retryAfterSeconds },
    });
  }
}

/** What it may do is what it is for. */
function actorOf({ tenantId, triggerId, name, projectKey, environmentKey, flagKey, effect }: TriggerRecord): Actor {
  const place = `project:${projectKey}/env:${environmentKey}`;
  const actions = effect === 'turn-off' ? ['targeting.update', 'environment.serve'] : ['flag.mark-health'];
  const statements = [{ effect: 'allow' as const, actions, resources: [place, `${place}/flag:${flagKey}`], tags: [] }];
  return {
    kind: 'member',
    credentialId: triggerId,
    name: `trigger ${name}`,
    tenantId,
    roles: [{ key: 'trigger', statements }],
  };
}

/** An alert keeps its fingerprint when it fires anew; its start tells the two apart. That it ended is another piece of news. */
function nameOf({ status, fingerprint, startsAt }: Alert): string {
  return `${status} ${fingerprint} ${startsAt}`;
}

function reasonOf({ name }: TriggerRecord, firing: readonly Alert[] = []): string {
  const texts = firing.map(({ labels, annotations }) => annotations.summary ?? labels.alertname ?? 'an alert');
  const text = texts.length === 0 ? `trigger ${name} fired` : texts.join('; ');
  // A cut in the middle of a character would leave half of it, which is no text.
  return text.slice(0, REASON_CHARS_MAX).replace(/[\ud800-\udbff]$/, '');
}
