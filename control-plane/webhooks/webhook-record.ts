import type { EnvironmentId, ProjectId, TenantId } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';
import type { Signing } from './sign-message.js';

/**
 * What is sent. `standard`, `cloudevents`: the event itself. `slack`, `teams`: a sentence about it. `fastly`, `cloudflare`, `varnish`: not an event but the
 * order to forget what a cache keeps of an environment. `policy`: a question before a change, to be answered at once.
 */
export const WEBHOOK_FORMS = [
  'standard',
  'cloudevents',
  'slack',
  'teams',
  'fastly',
  'cloudflare',
  'varnish',
  'policy',
] as const;
export type WebhookForm = (typeof WEBHOOK_FORMS)[number];

export const PURGE_FORMS: ReadonlySet<WebhookForm> = new Set<WebhookForm>(['fastly', 'cloudflare', 'varnish']);
/** Their addresses are secrets themselves: whoever has one can write to the channel. */
export const CHAT_FORMS: ReadonlySet<WebhookForm> = new Set<WebhookForm>(['slack', 'teams']);

/** Where events must happen to be sent; ids decide, keys are for people. */
export interface WebhookPlace {
  readonly projectId: ProjectId;
  readonly projectKey: string;
  readonly environmentId?: EnvironmentId;
  readonly environmentKey?: string;
}

/** Which events of its place an endpoint gets. Empty lists: all. */
export interface EventFilter {
  /** `flag.updated`, `flag.*`, `*`; of a `policy`: actions such as `flag.update`. */
  readonly events: readonly string[];
  /** Keys of flags; `*` stands for any run of characters. */
  readonly flags: readonly string[];
  /** One of them is enough. */
  readonly tags: readonly string[];
}

export interface SealedSecret {
  /** By the installation's SecretBox, owner `<tenantId>/<webhookId>`. */
  readonly sealed: string;
  /** `whpk_…`; '' of a shared secret. */
  readonly publicKey: string;
  /** Epoch milliseconds, of one that was rotated away: until then messages are signed with it too; null: the one in force. */
  readonly notAfter: number | null;
}

/**
 * ok -> failing (FAILURES_UNTIL_FAILING attempts in a row) -> ok by the first that succeeds, or disabled after the last attempt of the schedule. ok, failing
 * -> disabled by status 410. Whoever enables the endpoint makes it ok. Each step is a change with its audit entry and its event.
 */
export type WebhookHealth = 'ok' | 'failing' | 'disabled';

/** Row of an endpoint that a tenant wants to be told at. */
export interface WebhookRecord extends Versioned, EventFilter {
  readonly webhookId: string;
  readonly tenantId: TenantId;
  readonly name: string;
  readonly url: string;
  readonly form: WebhookForm;
  readonly place: WebhookPlace | null;
  /** Of chat forms: `{{name}}` stands for a value; '' = the summary of the change. */
  readonly template: string;
  readonly signing: Signing;
  /** The one in force first. */
  readonly secrets: readonly SealedSecret[];
  /** What a cache's API asks for besides; null = nothing. */
  readonly authorization: { readonly header: string; readonly sealed: string } | null;
  /** Of `policy`: how long an answer may take, milliseconds. */
  readonly timeoutMs: number;
  readonly enabled: boolean;
  readonly health: WebhookHealth;
  /** Why it is failing or disabled, for people. */
  readonly healthReason: string;
  /** Epoch milliseconds. Attempts before it do not count for the schedule. */
  readonly enabledAt: number;
  readonly createdAt: number;
}

/** The address as people see it: where it is a secret itself, its host alone. What is shown so is no URL that an endpoint can have. */
export function shownUrlOf({ form, url }: Pick<WebhookRecord, 'form' | 'url'>): string {
  return CHAT_FORMS.has(form) ? `${new URL(url).origin}/…` : url;
}

/** What secrets of an endpoint are sealed for. */
export function sealOwnerOf({ tenantId, webhookId }: Pick<WebhookRecord, 'tenantId' | 'webhookId'>): string {
  return `${tenantId}/${webhookId}`;
}
