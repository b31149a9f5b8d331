import { randomUUID } from 'node:crypto';
import { type Json, PlatformError, type TenantId } from '@guidon/protocol';
import { auditActorOf } from '../admin-api/actor.js';
import { boundedDiff, type PolicyVerdict } from '../audit/audit-entry.js';
import type { BoundedRecorder } from '../audit/bounded-recorder.js';
import type { Change, WriteRequest } from '../commit/change.js';
import { diffJson } from '../commit/diff.js';
import type { PreparedEnvironment } from '../commit/prepare-environment.js';
import { findEnvironment } from '../environments/environment-read-model.js';
import { thingsOfChange } from '../feed/rows-of-change.js';
import { asJson } from '../flags/as-json.js';
import type { FlagRecord } from '../flags/flag-record.js';
import type { ProjectRecord } from '../projects/project-record.js';
import { resourcePathOf } from '../roles/resource-path.js';
import type { ControlStore } from '../store/control-store.js';
import { INSTALLATION, keys } from '../store/keys.js';
import type { Dispatcher } from './dispatcher.js';
import { type Filterable, isFor } from './event-filter.js';
import { AUDIT_READERS, type RenderedMessage } from './render-message.js';
import { listWebhooks } from './webhook-read-model.js';
import type { WebhookRecord } from './webhook-record.js';

const REASON_CHARS_MAX = 500;

/**
 * Asks a tenant's endpoints of the form `policy` before a change is written; each must allow it. A hook that does not answer refuses: nobody gets past it by
 * keeping it from answering. Admins of the installation are not asked about, so that a broken hook locks nobody out for good (break-glass), and
 * nor are changes of webhooks, so that who manages them can take a broken one away.
 */
export class PolicyHooks {
  readonly #store: ControlStore;
  readonly #recorder: BoundedRecorder;
  readonly #dispatcher: () => Dispatcher;

  constructor(store: ControlStore, recorder: BoundedRecorder, dispatcher: () => Dispatcher) {
    this.#store = store;
    this.#recorder = recorder;
    this.#dispatcher = dispatcher;
  }

  /** Throws `refused-by-policy` or `policy-unavailable`. Undefined when no hook is concerned: asks and waits for nothing then. */
  review(
    write: WriteRequest,
    change: Change,
    prepared: readonly PreparedEnvironment[],
  ): Promise<readonly PolicyVerdict[]> | undefined {
    const { owner, action } = change;
    if (owner === INSTALLATION || write.actor.kind === 'system' || action.startsWith('webhook.')) return undefined;
    const hooks = listWebhooks(this.#store, owner).filter(({ form, enabled }) => form === 'policy' && enabled);
    if (hooks.length === 0) return undefined;
    const events = this.#store.readStaged(() => filterablesOf(this.#store, owner, change, prepared));
    const concerned = hooks.filter((hook) => events.some((event) => isFor(hook, hook.place, event)));
    if (concerned.length === 0) return undefined;
    if (write.actor.kind === 'installation-admin') {
      return Promise.resolve(concerned.map(({ webhookId }) => ({ webhookId, verdict: 'not-asked' })));
    }
    return this.#askAll(owner, concerned, write, change, prepared);
  }

  async #askAll(
    owner: TenantId,
    hooks: readonly WebhookRecord[],
    write: WriteRequest,
    change: Change,
    prepared: readonly PreparedEnvironment[],
  ): Promise<readonly PolicyVerdict[]> {
    const things = this.#store.readStaged(() => thingsOfChange(this.#store, owner, change));
    const audiences = [...things.map(({ audience }) => audience), AUDIT_READERS];
    const message = { ...questionOf(write, change, prepared), audiences };
    try {
      return await Promise.all(hooks.map((hook) => this.#ask(hook, message)));
    } catch (error) {
      if (error instanceof PlatformError) {
        const { actor, requestId, from } = write;
        const { action, subject } = change;
        this.#recorder.record(`policy ${owner}`, owner, {
          actor: auditActorOf(actor),
          requestId,
          ...(from === undefined ? {} : { from }),
          action: 'policy.refused',
          subject,
          summary: `${action} was refused: ${error.message}`,
        });
      }
      throw error;
    }
  }

  async #ask(hook: WebhookRecord, message: RenderedMessage): Promise<PolicyVerdict> {
    const { result } = await this.#dispatcher().ask(hook, message);
    const answer = result.outcome === 'delivered' ? parseAnswer(result.body) : undefined;
    if (answer === undefined) {
      const why = result.outcome === 'delivered' ? 'its answer is none' : result.outcome;
      throw new PlatformError('policy-unavailable', `the policy hook ${hook.name} could not be asked: ${why}`);
    }
    if (answer.allow) return { webhookId: hook.webhookId, verdict: 'allowed' };
    const reason = answer.reason === '' ? 'it gave no reason' : answer.reason;
    throw new PlatformError('refused-by-policy', `the policy hook ${hook.name} refuses: ${reason}`, {
      extensions: { reason },
    });
  }
}

/** `{"allow": boolean, "reason"?: text}`; undefined for everything else. */
function parseAnswer(body: Buffer | undefined): { allow: boolean; reason: string } | undefined {
  try {
    const answer: unknown = JSON.parse((body ?? Buffer.alloc(0)).toString('utf8'));
    if (typeof answer !== 'object' || answer === null || !('allow' in answer)) return undefined;
    if (typeof answer.allow !== 'boolean') return undefined;
    const reason = 'reason' in answer && typeof answer.reason === 'string' ? answer.reason : '';
    return { allow: answer.allow, reason: reason.slice(0, REASON_CHARS_MAX) };
  } catch {
    return undefined;
  }
}

function questionOf(
  write: WriteRequest,
  change: Change,
  prepared: readonly PreparedEnvironment[],
): Omit<RenderedMessage, 'audiences'> {
  const { kind, name } = write.actor;
  const data: Json = asJson({
    action: change.action,
    subject: change.subject,
    summary: change.summary,
    comment: write.comment ?? '',
    actor: { kind, name },
    ...boundedDiff(diffJson(change.before, change.after)),
    environments: prepared.map(({ change: { environment }, next, isRaised }) => ({
      environmentId: environment.environmentId,
      revision: next.revision,
      isRaised,
    })),
  });
  return {
    id: `msg_${randomUUID().replaceAll('-', '')}`,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'policy.question', timestamp: new Date().toISOString(), data }),
  };
}

/**
 * The change as filters see it: where its subject stands, in each environment that it reaches, and each thing that it touches, before and after, so that nobody
 * gets past a hook by editing a flag among others, or by taking its tag away first.
 */
function filterablesOf(
  store: ControlStore,
  tenantId: TenantId,
  change: Change,
  prepared: readonly PreparedEnvironment[],
): Filterable[] {
  const [, projectKey] = /^projects\/([^/]+)/.exec(change.subject) ?? [];
  const [, environmentKey] = /\/environments\/([^/]+)/.exec(change.subject) ?? [];
  const [, flagKey] = /\/flags\/([^/]+)/.exec(change.subject) ?? [];
  const project = projectKey && store.find<ProjectRecord>(keys.project(tenantId, projectKey));
  const flag = project && flagKey && store.find<FlagRecord>(keys.flag(tenantId, project.projectId, flagKey));
  const environment = project && environmentKey ? findEnvironment(store, project, environmentKey) : undefined;
  const names = { projectKey, environmentKey, flagKey };
  const path = resourcePathOf(Object.fromEntries(Object.entries(names).filter(isNamed)));
  const common = { type: change.action, path, tags: flag ? flag.tags : [] };
  const reached = prepared.filter(({ isRaised }) => isRaised).map(({ change: { environment: ref } }) => ref);
  return [
    { ...common, projectId: project ? project.projectId : undefined, environmentId: environment?.environmentId },
    ...reached.map(({ projectId, environmentId }) => ({ ...common, projectId, environmentId })),
    ...thingsOfChange(store, tenantId, change).map(
      ({ audience, projectId: inProject, environmentId: inEnvironment }) => ({
        type: change.action,
        projectId: inProject,
        environmentId: inEnvironment,
        path: audience.path,
        tags: audience.tags,
      }),
    ),
  ];
}

function isNamed(entry: [string, string | undefined]): entry is [string, string] {
  return entry[1] !== undefined;
}
