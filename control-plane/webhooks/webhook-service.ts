import { PlatformError, type TenantId } from '@guidon/protocol';
import { ulid } from 'ulid';
import type { z } from 'zod';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { Change, RecordRead, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { findEnvironment } from '../environments/environment-read-model.js';
import { getProject } from '../projects/project-read-model.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import type { AddressRules } from './address-rules.js';
import type { RedeliveryOrder, WebhookState } from './delivery-rows.js';
import type { SecretBox } from './secret-box.js';
import { newSecret } from './sign-message.js';
import { getWebhook, getWebhookState } from './webhook-read-model.js';
import {
  CHAT_FORMS,
  type SealedSecret,
  sealOwnerOf,
  shownUrlOf,
  type WebhookPlace,
  type WebhookRecord,
} from './webhook-record.js';
import {
  type createWebhookBody,
  type redeliverBody,
  type rotateWebhookBody,
  viewWebhook,
  webhookPatchSchema,
} from './webhook-schemas.js';
import { parseWebhookUrl } from './webhook-url.js';

/** Orders that wait at an endpoint; one more is refused. */
const REDELIVERIES_MAX = 10;

export interface WebhookTools {
  readonly box: SecretBox;
  readonly rules: AddressRules;
}

/** Rules of endpoints. What they are sent is the dispatcher's affair: here its row of state is made and goes. */
export class WebhookService {
  readonly #core: ControlPlaneCore;
  readonly #tools: WebhookTools;

  constructor(core: ControlPlaneCore, tools: WebhookTools) {
    this.#core = core;
    this.#tools = tools;
  }

  create(write: WriteRequest, tenantId: TenantId, body: z.infer<typeof createWebhookBody>): Promise<Reply> {
    const { store, committer, feed, now } = this.#core;
    const { project, environment, authorization, ...settings } = body;
    const url = parseWebhookUrl(settings.url, this.#tools.rules).href;
    const webhookId = `whk_${ulid()}`;
    const owner = sealOwnerOf({ tenantId, webhookId });
    const { secret, sealed } = this.#makeSecret(settings.signing, owner);
    return committer.commit(write, undefined, () => {
      const tenant = getTenant(store, tenantId);
      if (tenant.archived) throw new PlatformError('conflict', 'the tenant is archived');
      const { place, relied } = this.#placeOf(tenantId, project, environment);
      const webhook: WebhookRecord = {
        version: 1,
        webhookId,
        tenantId,
        ...settings,
        url,
        place,
        secrets: [sealed],
        authorization:
          authorization === undefined
            ? null
            : { header: authorization.header, sealed: this.#tools.box.seal(authorization.value, owner) },
        health: 'ok',
        healthReason: '',
        enabledAt: now(),
        createdAt: now(),
      };
      // It is told what happens from its own making on.
      const cursor = feed.bounds(tenantId).end;
      const state: WebhookState = { cursor, deliveredSequence: 0, logNext: 1 };
      return {
        ...changeOf(undefined, webhook),
        action: 'webhook.create',
        summary: `Created webhook ${webhook.name}`,
        relied: [{ key: keys.tenant(tenantId), read: tenant }, ...relied],
        rows: [{ key: keys.webhookState(tenantId, webhookId), value: state }],
        reply: () => ({
          status: 201,
          body: { ...viewWebhook(webhook), secret },
          etag: webhook.version,
          location: `/api/v1/tenants/${tenantId}/webhooks/${webhookId}`,
        }),
      };
    });
  }

  update(write: WriteRequest, tenantId: TenantId, webhookId: string, patch: Patch): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getWebhook(store, tenantId, webhookId);
      assertIfMatch(write, before);
      const { name, events, flags, tags, template, timeoutMs, enabled } = before;
      // What nobody is shown must not be copied by a patch to where it is.
      const url = shownUrlOf(before);
      const patchable = {
        name,
        url,
        events: [...events],
        flags: [...flags],
        tags: [...tags],
        template,
        timeoutMs,
        enabled,
      };
      const edited = parseWith(webhookPatchSchema, applyPatch(patchable, patch));
      if (edited.template !== '' && !CHAT_FORMS.has(before.form)) {
        throw new PlatformError('validation-failed', 'a template is for slack and teams');
      }
      const href = edited.url === url ? before.url : parseWebhookUrl(edited.url, this.#tools.rules).href;
      if (before.authorization !== null && new URL(href).origin !== new URL(before.url).origin) {
        // Whoever may edit it would be sent what it authorises with.
        throw new PlatformError('conflict', 'an endpoint with an authorization stays at its host: make another one');
      }
      const isEnabledAgain = edited.enabled && (!before.enabled || before.health === 'disabled');
      const after: WebhookRecord = {
        ...before,
        ...edited,
        url: href,
        ...(isEnabledAgain ? { health: 'ok' as const, healthReason: '', enabledAt: now() } : {}),
        version: before.version + 1,
      };
      return {
        ...changeOf(before, after),
        action: 'webhook.update',
        summary: `Edited webhook ${after.name}`,
        reply: () => replyOf(after),
      };
    });
  }

  /** The secret before signs too until the overlap ends; one that a rotation before it had left over ends now. */
  rotateSecret(
    write: WriteRequest,
    tenantId: TenantId,
    webhookId: string,
    { overlapSeconds }: z.infer<typeof rotateWebhookBody>,
  ): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getWebhook(store, tenantId, webhookId);
      assertIfMatch(write, before);
      const { secret, sealed } = this.#makeSecret(before.signing, sealOwnerOf(before));
      const former = before.secrets.slice(0, 1).map((one) => ({ ...one, notAfter: now() + overlapSeconds * 1_000 }));
      const secrets = overlapSeconds === 0 ? [sealed] : [sealed, ...former];
      const after: WebhookRecord = { ...before, secrets, version: before.version + 1 };
      return {
        ...changeOf(before, after),
        action: 'webhook.rotate-secret',
        summary: `Rotated the secret of webhook ${after.name}`,
        reply: () => ({ status: 200, body: { ...viewWebhook(after), secret }, etag: after.version }),
      };
    });
  }

  delete(write: WriteRequest, tenantId: TenantId, webhookId: string): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getWebhook(store, tenantId, webhookId);
      assertIfMatch(write, before);
      const left = [keys.webhookDeliveries(tenantId, webhookId), keys.webhookRedeliveries(tenantId, webhookId)];
      const rows = left.flatMap((range) => store.list(range).map(({ key }) => ({ key, value: undefined })));
      return {
        ...changeOf(before, undefined),
        action: 'webhook.delete',
        summary: `Deleted webhook ${before.name}`,
        rows: [{ key: keys.webhookState(tenantId, webhookId), value: undefined }, ...rows],
        reply: () => ({ status: 204, body: undefined }),
      };
    });
  }

  /** Orders events of the past once more; each gets one attempt, whatever comes of it. */
  redeliver(
    write: WriteRequest,
    tenantId: TenantId,
    webhookId: string,
    { from, to = from }: z.infer<typeof redeliverBody>,
  ): Promise<Reply> {
    const { store, committer, feed, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const webhook = getWebhook(store, tenantId, webhookId);
      if (!webhook.enabled || webhook.form === 'policy') {
        throw new PlatformError('conflict', 'only an enabled endpoint that gets events can get them again');
      }
      const { cursor } = getWebhookState(store, tenantId, webhookId);
      const { start } = feed.bounds(tenantId);
      if (from <= start || from > cursor) {
        throw new PlatformError('validation-failed', `events from ${start + 1} to ${cursor} can be sent again`);
      }
      if (store.list(keys.webhookRedeliveries(tenantId, webhookId)).length >= REDELIVERIES_MAX) {
        throw new PlatformError('limit-exceeded', `${REDELIVERIES_MAX} such orders wait already`);
      }
      const order: RedeliveryOrder = { orderId: `rdl_${ulid()}`, from, to: Math.min(to, cursor), at: now() };
      return {
        ...changeOf(webhook, webhook),
        action: 'webhook.redeliver',
        summary: `Ordered events ${from} to ${order.to} for webhook ${webhook.name} again`,
        records: [],
        relied: [{ key: keys.webhook(tenantId, webhookId), read: webhook }],
        rows: [{ key: keys.webhookRedelivery(tenantId, webhookId, order.orderId), value: order }],
        reply: () => ({ status: 202, body: { from, to: order.to } }),
      };
    });
  }

  #makeSecret(signing: WebhookRecord['signing'], owner: string): { secret: string; sealed: SealedSecret } {
    const { secret, publicKey } = newSecret(signing);
    return { secret, sealed: { sealed: this.#tools.box.seal(secret, owner), publicKey, notAfter: null } };
  }

  #placeOf(
    tenantId: TenantId,
    projectKey: string | undefined,
    environmentKey: string | undefined,
  ): { place: WebhookPlace | null; relied: RecordRead[] } {
    const { store } = this.#core;
    if (projectKey === undefined) return { place: null, relied: [] };
    const project = getProject(store, tenantId, projectKey);
    const { projectId } = project;
    const relied: RecordRead[] = [{ key: keys.project(tenantId, projectKey), read: project }];
    if (environmentKey === undefined) return { place: { projectId, projectKey }, relied };
    const environment = findEnvironment(store, project, environmentKey);
    if (environment === undefined) {
      const detail = `the project has no environment ${environmentKey}`;
      throw new PlatformError('dangling-reference', detail, {
        issues: [{ pointer: '/environment', code: 'dangling-reference', detail }],
      });
    }
    relied.push({ key: keys.environment(tenantId, projectId, environmentKey), read: environment });
    return { place: { projectId, projectKey, environmentId: environment.environmentId, environmentKey }, relied };
  }
}

/** The parts of a change that are the same for every change of an endpoint. */
export function changeOf(
  before: WebhookRecord | undefined,
  after: WebhookRecord | undefined,
): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
  const webhook = after ?? before;
  if (webhook === undefined) throw new Error('a change has an endpoint before or after it');
  return {
    owner: webhook.tenantId,
    subject: `webhooks/${webhook.webhookId}`,
    before: before === undefined ? undefined : viewWebhook(before),
    after: after === undefined ? undefined : viewWebhook(after),
    records: [{ key: keys.webhook(webhook.tenantId, webhook.webhookId), read: before, value: after }],
  };
}

export function replyOf(webhook: WebhookRecord): Reply {
  return { status: 200, body: viewWebhook(webhook), etag: webhook.version };
}
