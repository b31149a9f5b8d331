import { createHash } from 'node:crypto';
import type { EnvironmentRef, TenantId } from '@guidon/protocol';

declare const brand: unique symbol;
/** The key of one row. Made only here, so that what a row belongs to is decided in one place (I16). */
export type StoreKey = (string | number)[] & { readonly [brand]: 'StoreKey' };
/** All rows whose keys start with the same parts: the only way to list. */
export interface KeyRange {
  readonly prefix: StoreKey;
}

/** Stands where an id would: `$` is in no id, so installation rows never lie inside a tenant, tenant rows never inside an environment. */
export const INSTALLATION = '$';
/** Whose row it is: a tenant's, or the installation's own. */
export type Scope = TenantId | typeof INSTALLATION;
export type EnvironmentScope = Pick<EnvironmentRef, 'tenantId' | 'environmentId'>;

/**
 * Every key of the store. Layout, by the first two parts:
 *
 *   ['$', '$', noun, …]               the installation's own: format, writer, tenants, look-ups by global id, outbox
 *   [tenantId, '$', noun, …]          a tenant's: projects, environments, flags, credentials of admins, audit
 *   [tenantId, environmentId, noun, …] an environment's: targeting, segments, definitions, revisions, keys of SDKs
 *
 * Parts are ids, keys that people type, hashes or numbers; none holds a control character, so ordered-binary keeps prefixes together.
 */
export const keys = {
  storeFormat: () => key(INSTALLATION, INSTALLATION, 'format'),
  writer: () => key(INSTALLATION, INSTALLATION, 'writer'),
  setup: () => key(INSTALLATION, INSTALLATION, 'setup'),
  /** There from a restore until every environment has the epoch that it names. */
  restoration: () => key(INSTALLATION, INSTALLATION, 'restoration'),

  /** The epoch of the newest restore: what the heads of audit logs are signed with since. */
  restoredEpoch: () => key(INSTALLATION, INSTALLATION, 'restored-epoch'),

  tenant: (tenantId: TenantId) => key(INSTALLATION, INSTALLATION, 'tenant', tenantId),
  tenants: () => range(INSTALLATION, INSTALLATION, 'tenant'),
  /** Which tenant has a key: keys of tenants are unique in the installation. */
  tenantKey: (tenantKey: string) => key(INSTALLATION, INSTALLATION, 'tenant-key', tenantKey),
  /** Of a tenant that is being removed, or not wholly imported yet. */
  tenantRemoval: (tenantId: TenantId) => key(INSTALLATION, INSTALLATION, 'tenant-removal', tenantId),
  tenantRemovals: () => range(INSTALLATION, INSTALLATION, 'tenant-removal'),
  /** Everything of a tenant and of all of its environments: for what is done to the whole of it. */
  tenantRows: (tenantId: TenantId) => range(tenantId),
  /** A row of a tenant from its parts behind the tenant's id, as archives have them. */
  tenantRow: (tenantId: TenantId, parts: readonly (string | number)[]) => key(tenantId, ...parts),
  /** How much a tenant has of what its quotas limit. */
  tenantUsage: (tenantId: TenantId) => key(tenantId, INSTALLATION, 'usage'),
  /** Whose credential an id is: the tenant comes from the credential, so it is looked up before any tenant is known. */
  credentialOwner: (credentialId: string) => key(INSTALLATION, INSTALLATION, 'credential-owner', credentialId),
  /** An environment by its globally unique id, for nodes. */
  environmentOwner: (environmentId: string) => key(INSTALLATION, INSTALLATION, 'environment-owner', environmentId),
  environmentOwners: () => range(INSTALLATION, INSTALLATION, 'environment-owner'),
  outbox: (topic: string, environmentId: string) => key(INSTALLATION, INSTALLATION, 'outbox', topic, environmentId),
  /** There while revisions go through canaries first: what each environment has released is written down. */
  canary: () => key(INSTALLATION, INSTALLATION, 'canary'),
  released: (environmentId: string) => key(INSTALLATION, INSTALLATION, 'released', environmentId),
  outboxRows: () => range(INSTALLATION, INSTALLATION, 'outbox'),
  idempotencyExpiry: (expiresAt: number, scope: Scope, credentialId: string, keyHash: string) =>
    key(INSTALLATION, INSTALLATION, 'idempotency-expiry', expiresAt, scope, credentialId, keyHash),
  idempotencyExpiries: () => range(INSTALLATION, INSTALLATION, 'idempotency-expiry'),
  /** A break-glass assertion that has been used. */
  breakGlass: (assertionId: string) => key(INSTALLATION, INSTALLATION, 'break-glass', assertionId),
  person: (personId: string) => key(INSTALLATION, INSTALLATION, 'person', personId),
  people: () => range(INSTALLATION, INSTALLATION, 'person'),
  /** Who has an email address (in the form of `emailKeyOf`): one person in the installation. */
  personEmail: (email: string) => key(INSTALLATION, INSTALLATION, 'person-email', hashedPart(email)),
  /** Which person a provider's subject is. */
  identity: (issuer: string, subject: string) =>
    key(INSTALLATION, INSTALLATION, 'identity', hashedPart(JSON.stringify([issuer, subject]))),
  session: (personId: string, sessionId: string) => key(INSTALLATION, INSTALLATION, 'session', personId, sessionId),
  sessions: (personId: string) => range(INSTALLATION, INSTALLATION, 'session', personId),
  nodeCredential: (credentialId: string) => key(INSTALLATION, INSTALLATION, 'node-credential', credentialId),
  nodeCredentials: () => range(INSTALLATION, INSTALLATION, 'node-credential'),

  adminCredential: (scope: Scope, credentialId: string) => key(scope, INSTALLATION, 'admin-credential', credentialId),
  adminCredentials: (scope: Scope) => range(scope, INSTALLATION, 'admin-credential'),
  audit: (scope: Scope, sequence: number) => key(scope, INSTALLATION, 'audit', sequence),
  auditEntries: (scope: Scope) => range(scope, INSTALLATION, 'audit'),
  auditHead: (scope: Scope) => key(scope, INSTALLATION, 'audit-head'),
  /** A full subtree of the log's Merkle tree; level 1 joins two entries. */
  auditNode: (scope: Scope, level: number, index: number) => key(scope, INSTALLATION, 'audit-node', level, index),
  /** Signed tree heads, by the size of the log they were made at. */
  auditTreeHead: (scope: Scope, size: number) => key(scope, INSTALLATION, 'audit-tree-head', size),
  auditTreeHeads: (scope: Scope) => range(scope, INSTALLATION, 'audit-tree-head'),
  /** What changed in a tenant, in order. */
  feedRow: (tenantId: TenantId, sequence: number) => key(tenantId, INSTALLATION, 'feed', sequence),
  feedRows: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'feed'),
  /** Up to where the feed is in no row. */
  feedStart: (tenantId: TenantId) => key(tenantId, INSTALLATION, 'feed-start'),
  idempotency: (scope: Scope, credentialId: string, keyHash: string) =>
    key(scope, INSTALLATION, 'idempotency', credentialId, keyHash),

  member: (tenantId: TenantId, personId: string) => key(tenantId, INSTALLATION, 'member', personId),
  members: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'member'),
  invitation: (tenantId: TenantId, invitationId: string) => key(tenantId, INSTALLATION, 'invitation', invitationId),
  invitations: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'invitation'),
  role: (tenantId: TenantId, roleKey: string) => key(tenantId, INSTALLATION, 'role', roleKey),
  roles: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'role'),
  project: (tenantId: TenantId, projectKey: string) => key(tenantId, INSTALLATION, 'project', projectKey),
  projects: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'project'),
  environment: (tenantId: TenantId, projectId: string, environmentKey: string) =>
    key(tenantId, INSTALLATION, 'environment', projectId, environmentKey),
  environments: (tenantId: TenantId, projectId: string) => range(tenantId, INSTALLATION, 'environment', projectId),
  environmentsOfTenant: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'environment'),

  flag: (tenantId: TenantId, projectId: string, flagKey: string) =>
    key(tenantId, INSTALLATION, 'flag', projectId, flagKey),
  flags: (tenantId: TenantId, projectId: string) => range(tenantId, INSTALLATION, 'flag', projectId),
  flagsOfTenant: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'flag'),
  flagTombstone: (tenantId: TenantId, projectId: string, flagKey: string) =>
    key(tenantId, INSTALLATION, 'flag-tombstone', projectId, flagKey),
  trigger: (tenantId: TenantId, triggerId: string) => key(tenantId, INSTALLATION, 'trigger', triggerId),
  triggerState: (tenantId: TenantId, triggerId: string) => key(tenantId, INSTALLATION, 'trigger-state', triggerId),
  triggers: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'trigger'),
  webhook: (tenantId: TenantId, webhookId: string) => key(tenantId, INSTALLATION, 'webhook', webhookId),
  webhooks: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'webhook'),
  /** How far an endpoint has got. */
  webhookState: (tenantId: TenantId, webhookId: string) => key(tenantId, INSTALLATION, 'webhook-state', webhookId),
  /** Its log of attempts. */
  webhookDelivery: (tenantId: TenantId, webhookId: string, number: number) =>
    key(tenantId, INSTALLATION, 'webhook-delivery', webhookId, number),
  webhookDeliveries: (tenantId: TenantId, webhookId: string) =>
    range(tenantId, INSTALLATION, 'webhook-delivery', webhookId),
  /** Orders to send events again, oldest first. */
  webhookRedelivery: (tenantId: TenantId, webhookId: string, orderId: string) =>
    key(tenantId, INSTALLATION, 'webhook-redelivery', webhookId, orderId),
  webhookRedeliveries: (tenantId: TenantId, webhookId: string) =>
    range(tenantId, INSTALLATION, 'webhook-redelivery', webhookId),
  upload: (tenantId: TenantId, uploadId: string) => key(tenantId, INSTALLATION, 'upload', uploadId),
  uploads: (tenantId: TenantId) => range(tenantId, INSTALLATION, 'upload'),
  uploadPart: (tenantId: TenantId, uploadId: string, part: number) =>
    key(tenantId, INSTALLATION, 'upload-part', uploadId, part),
  uploadParts: (tenantId: TenantId, uploadId: string) => range(tenantId, INSTALLATION, 'upload-part', uploadId),

  targeting: (environment: EnvironmentScope, flagKey: string) => own(environment, 'targeting', flagKey),
  targetings: (environment: EnvironmentScope) => ownRange(environment, 'targeting'),
  /** Whether a flag is said to do well there. */
  flagHealth: (environment: EnvironmentScope, flagKey: string) => own(environment, 'flag-health', flagKey),
  flagHealths: (environment: EnvironmentScope) => ownRange(environment, 'flag-health'),
  segment: (environment: EnvironmentScope, segmentKey: string) => own(environment, 'segment', segmentKey),
  segments: (environment: EnvironmentScope) => ownRange(environment, 'segment'),
  segmentTombstone: (environment: EnvironmentScope, segmentKey: string) =>
    own(environment, 'segment-tombstone', segmentKey),
  /** A chunk of an archived segment, which is shipped nowhere. Chunks of one list are in the order of their prefixes. */
  archivedKeys: (
    environment: EnvironmentScope,
    segmentKey: string,
    list: string,
    contextKind: string,
    prefix: string,
  ) => own(environment, 'archived-keys', segmentKey, list, hashedPart(contextKind), `p${prefix}`),
  archivedKeysOf: (environment: EnvironmentScope, segmentKey: string) =>
    ownRange(environment, 'archived-keys', segmentKey),
  archivedKeysOfList: (environment: EnvironmentScope, segmentKey: string, list: string, contextKind: string) =>
    ownRange(environment, 'archived-keys', segmentKey, list, hashedPart(contextKind)),
  /** SDK keys of one environment. */
  credential: (environment: EnvironmentScope, credentialId: string) => own(environment, 'credential', credentialId),
  credentials: (environment: EnvironmentScope) => ownRange(environment, 'credential'),
  /** Where the environment stands: epoch, revision, digest. */
  environmentState: (environment: EnvironmentScope) => own(environment, 'state'),
  /** The signed access list in force and its sequence. */
  accessState: (environment: EnvironmentScope) => own(environment, 'access'),
  revision: (environment: EnvironmentScope, revision: number) => own(environment, 'revision', revision),
  revisions: (environment: EnvironmentScope) => ownRange(environment, 'revision'),
  /** Which definition bytes are in force for a (kind, key). */
  definitionEntry: (environment: EnvironmentScope, kind: string, definitionKey: string) =>
    own(environment, 'entry', kind, ...entryParts(kind, definitionKey)),
  definitionEntries: (environment: EnvironmentScope) => ownRange(environment, 'entry'),
  /** Entries of one kind; of the chunks of one segment when its key is given. */
  definitionEntriesOf: (environment: EnvironmentScope, kind: string, owner?: string) =>
    owner === undefined ? ownRange(environment, 'entry', kind) : ownRange(environment, 'entry', kind, owner),
  /** What a (kind, key) became at a revision: history, so that any kept revision is read without its neighbours. */
  definitionChange: (environment: EnvironmentScope, kind: string, definitionKey: string, revision: number) =>
    own(environment, 'change', kind, ...entryParts(kind, definitionKey), revision),
  definitionChangesOf: (environment: EnvironmentScope, kind: string, definitionKey: string) =>
    ownRange(environment, 'change', kind, ...entryParts(kind, definitionKey)),
  definitionChanges: (environment: EnvironmentScope) => ownRange(environment, 'change'),
  /** Every (kind, key) that some kept revision has. */
  definitionName: (environment: EnvironmentScope, kind: string, definitionKey: string) =>
    own(environment, 'name', kind, ...entryParts(kind, definitionKey)),
  /** Of all kinds, of one kind, or of the chunks of one segment. */
  definitionNames: (environment: EnvironmentScope, ...within: readonly [kind?: string, owner?: string]) =>
    ownRange(environment, 'name', ...within.filter((part) => part !== undefined)),
  /** Definition bytes by their SHA-256, as signed. */
  definition: (environment: EnvironmentScope, hash: string) => own(environment, 'definition', hash),
  definitions: (environment: EnvironmentScope) => ownRange(environment, 'definition'),
  /** The last revision that put a definition in force: decides when its bytes may go. */
  definitionUse: (environment: EnvironmentScope, hash: string) => own(environment, 'definition-use', hash),

  /** Ids of events that have been counted, by the day they came. Times stand first in all of these, so that what is old lies together. */
  eventSeen: (environment: EnvironmentScope, day: number, eventId: string) =>
    own(environment, 'event-seen', day, eventId),
  eventsSeen: (environment: EnvironmentScope) => ownRange(environment, 'event-seen'),
  /** Counts of one flag, or of all together, by the minutes of an hour. */
  usageMinutes: (environment: EnvironmentScope, hour: number, flagKey: string) =>
    own(environment, 'usage-minutes', hour, flagKey),
  usageMinutesRows: (environment: EnvironmentScope) => ownRange(environment, 'usage-minutes'),
  /** By the hours of a day. */
  usageHours: (environment: EnvironmentScope, day: number, flagKey: string) =>
    own(environment, 'usage-hours', day, flagKey),
  usageHoursRows: (environment: EnvironmentScope) => ownRange(environment, 'usage-hours'),
  /** Sums of metrics by the variations of one flag, likewise. */
  metricMinutes: (environment: EnvironmentScope, hour: number, flagKey: string) =>
    own(environment, 'metric-minutes', hour, flagKey),
  metricMinutesRows: (environment: EnvironmentScope) => ownRange(environment, 'metric-minutes'),
  metricHours: (environment: EnvironmentScope, day: number, flagKey: string) =>
    own(environment, 'metric-hours', day, flagKey),
  metricHoursRows: (environment: EnvironmentScope) => ownRange(environment, 'metric-hours'),
  /** What somebody, known by a hash, was exposed to, by the period in which it was told. */
  exposedSubject: (environment: EnvironmentScope, period: number, subject: string) =>
    own(environment, 'exposed', period, subject),
  exposedSubjects: (environment: EnvironmentScope) => ownRange(environment, 'exposed'),
  /** How many of them a period has. */
  exposedCount: (environment: EnvironmentScope, period: number) => own(environment, 'exposed-count', period),
  exposedCounts: (environment: EnvironmentScope) => ownRange(environment, 'exposed-count'),
  /** When a flag was last evaluated, and how often in all. */
  flagUsage: (environment: EnvironmentScope, flagKey: string) => own(environment, 'flag-usage', flagKey),
  flagUsages: (environment: EnvironmentScope) => ownRange(environment, 'flag-usage'),
  unknownFlags: (environment: EnvironmentScope) => own(environment, 'unknown-flags'),
  /** Names and versions of the SDKs that sent events. */
  eventSenders: (environment: EnvironmentScope) => own(environment, 'event-senders'),
  /** Exposures and metric events of a day, in the order they came. */
  eventLog: (environment: EnvironmentScope, day: number, sequence: number) =>
    own(environment, 'event-log', day, sequence),
  eventLogOfDay: (environment: EnvironmentScope, day: number) => ownRange(environment, 'event-log', day),
  eventLogs: (environment: EnvironmentScope) => ownRange(environment, 'event-log'),
  eventLogHead: (environment: EnvironmentScope, day: number) => own(environment, 'event-log-head', day),
  eventLogHeads: (environment: EnvironmentScope) => ownRange(environment, 'event-log-head'),
} as const;

/** Chunk keys hold a context kind, which may be any text: it goes into the key as a hash, behind the segment it belongs to. */
function entryParts(kind: string, definitionKey: string): string[] {
  if (kind !== 'segment-keys') return [definitionKey];
  const segment = definitionKey.slice(0, definitionKey.indexOf('/'));
  return [segment, hashedPart(definitionKey)];
}

/** Any text as a key part. */
function hashedPart(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

function key(...parts: (string | number)[]): StoreKey {
  return parts as StoreKey;
}

function range(...parts: (string | number)[]): KeyRange {
  return { prefix: key(...parts) };
}

function own(environment: EnvironmentScope, ...parts: (string | number)[]): StoreKey {
  return key(environment.tenantId, environment.environmentId, ...parts);
}

function ownRange(environment: EnvironmentScope, ...parts: (string | number)[]): KeyRange {
  return { prefix: own(environment, ...parts) };
}

/** The last part of a row's key: what lists are ordered and continued by. */
export function lastPart(storeKey: StoreKey): string | number {
  return storeKey[storeKey.length - 1] ?? '';
}
