import type { TenantId } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { WebhookState } from './delivery-rows.js';
import type { WebhookRecord } from './webhook-record.js';

export function findWebhook(store: StoreReader, tenantId: TenantId, webhookId: string): WebhookRecord | undefined {
  return store.find<WebhookRecord>(keys.webhook(tenantId, webhookId));
}

export function getWebhook(store: StoreReader, tenantId: TenantId, webhookId: string): WebhookRecord {
  const webhook = findWebhook(store, tenantId, webhookId);
  if (webhook === undefined) throw notFound();
  return webhook;
}

export function listWebhooks(store: StoreReader, tenantId: TenantId): WebhookRecord[] {
  return store.list<WebhookRecord>(keys.webhooks(tenantId)).map(({ value }) => value);
}

export function getWebhookState(store: StoreReader, tenantId: TenantId, webhookId: string): WebhookState {
  const state = store.find<WebhookState>(keys.webhookState(tenantId, webhookId));
  if (state === undefined) throw new Error('an endpoint is made with its state');
  return state;
}
