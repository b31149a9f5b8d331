import type { EnvironmentId, Json, ProjectId } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';
import type { CredentialRecord } from '../credentials/credential-record.js';
import { viewCredential } from '../credentials/credential-schemas.js';
import type { PlatformCredentialRecord } from '../credentials/stored-credential.js';
import type { EnvironmentRecord } from '../environments/environment-record.js';
import { type FlagHealthRecord, viewFlagHealth } from '../flag-health/flag-health-record.js';
import { asJson } from '../flags/as-json.js';
import type { FlagRecord, TargetingRecord } from '../flags/flag-record.js';
import { viewFlag } from '../flags/flag-view.js';
import { viewTargeting } from '../flags/targeting-view.js';
import type { InvitationRecord, MemberRecord } from '../members/member-record.js';
import type { ProjectRecord } from '../projects/project-record.js';
import { viewProject } from '../projects/project-view.js';
import { CRITICAL_TAG } from '../roles/built-in-roles.js';
import { resourcePathOf } from '../roles/resource-path.js';
import type { RoleRecord } from '../roles/role-record.js';
import { viewRole } from '../roles/role-view.js';
import type { SegmentRecord } from '../segments/segment-record.js';
import { viewSegment } from '../segments/segment-view.js';
import { lastPart, type StoreKey } from '../store/keys.js';
import type { TenantRecord } from '../tenants/tenant-record.js';
import { viewTenant } from '../tenants/tenant-view.js';
import { type TriggerRecord, viewTrigger } from '../triggers/trigger-record.js';
import type { WebhookRecord } from '../webhooks/webhook-record.js';
import { viewWebhook } from '../webhooks/webhook-schemas.js';
import type { FeedPlaces } from './feed-places.js';
import type { FeedAudience } from './feed-row.js';

/** One thing of the feed: where it stands, who may read it, and what it is. */
export interface FeedThing {
  readonly subject: string;
  readonly audience: FeedAudience;
  readonly projectId?: ProjectId;
  readonly environmentId?: EnvironmentId;
  readonly data: Json;
}

/** What the feed shows of a stored row; undefined: nothing. */
type Describe = (key: StoreKey, row: Versioned, places: FeedPlaces) => FeedThing | undefined;

const tenant = describe<TenantRecord>((_, record) => ({
  subject: 'tenant',
  audience: { action: 'tenant.read', path: '', tags: [] },
  data: viewTenant(record),
}));

const project = describe<ProjectRecord>((_, record) => ({
  subject: `projects/${record.key}`,
  audience: { action: 'project.read', path: resourcePathOf({ projectKey: record.key }), tags: [] },
  projectId: record.projectId,
  data: viewProject(record),
}));

/** Where it stands says `environment.revision`. */
const environment = describe<EnvironmentRecord>((_, record, places) => {
  const { environmentId, projectId, key, name, archived, critical = false, createdAt, version } = record;
  const projectKey = places.projectKeyOf(projectId);
  return {
    subject: `projects/${projectKey}/environments/${key}`,
    audience: {
      action: 'environment.read',
      path: resourcePathOf({ projectKey, environmentKey: key }),
      tags: critical ? [CRITICAL_TAG] : [],
    },
    projectId,
    environmentId,
    data: { id: environmentId, key, name, archived, critical, createdAt, version },
  };
});

const flag = describe<FlagRecord>((key, record, places) => {
  const projectId = key[3] as ProjectId;
  const projectKey = places.projectKeyOf(projectId);
  return {
    subject: `projects/${projectKey}/flags/${record.key}`,
    audience: { action: 'flag.read', path: resourcePathOf({ projectKey, flagKey: record.key }), tags: record.tags },
    projectId,
    data: asJson(viewFlag(record)),
  };
});

const targeting = describe<TargetingRecord>((key, record, places) => {
  const flagKey = String(lastPart(key));
  const { projectId, environmentId, projectKey, key: environmentKey, tags } = places.environmentOf(String(key[1]));
  return {
    subject: `projects/${projectKey}/environments/${environmentKey}/flags/${flagKey}/targeting`,
    audience: {
      action: 'targeting.read',
      path: resourcePathOf({ projectKey, environmentKey, flagKey }),
      tags: [...places.flagTagsOf(projectId, flagKey), ...tags],
    },
    projectId,
    environmentId,
    data: asJson(viewTargeting(flagKey, environmentKey, record)),
  };
});

/** Without its keys, of which there may be a million: `keyCounts` says how many, and they are listed at the segment. */
const segment = describe<SegmentRecord>((key, record, places) => {
  const { projectId, environmentId, projectKey, key: environmentKey, tags } = places.environmentOf(String(key[1]));
  return {
    subject: `projects/${projectKey}/environments/${environmentKey}/segments/${record.key}`,
    audience: {
      action: 'segment.read',
      path: resourcePathOf({ projectKey, environmentKey, segmentKey: record.key }),
      tags,
    },
    projectId,
    environmentId,
    data: asJson(viewSegment(record)),
  };
});

const credential = describe<CredentialRecord>((key, record, places) => {
  const { projectId, environmentId, projectKey, key: environmentKey, tags } = places.environmentOf(String(key[1]));
  return {
    subject: `projects/${projectKey}/environments/${environmentKey}/credentials/${record.credentialId}`,
    audience: { action: 'credential.read', path: resourcePathOf({ projectKey, environmentKey }), tags },
    projectId,
    environmentId,
    data: asJson(viewCredential(record)),
  };
});

/** A person's own tokens are his own affair. */
const adminCredential = describe<PlatformCredentialRecord>((_, record) => {
  const { credentialId, name, roles = ['owner'], personId, notAfter, revokedAt, createdAt, version } = record;
  if (personId !== undefined) return undefined;
  return {
    subject: `admin-credentials/${credentialId}`,
    audience: { action: 'admin-credential.list', path: '', tags: [] },
    data: {
      id: credentialId,
      kind: 'adm',
      name,
      roles: [...roles],
      personId: null,
      notAfter,
      revokedAt,
      createdAt,
      version,
    },
  };
});

/** Without name and address: those are the person's, who may change them or go, and a feed is kept elsewhere. */
const member = describe<MemberRecord>((_, { personId, roles, createdAt, version }) => ({
  subject: `members/${personId}`,
  audience: { action: 'member.read', path: '', tags: [] },
  data: { personId, roles: [...roles], createdAt, version },
}));

/** Without whom it invites and who did: see `member`. */
const invitation = describe<InvitationRecord>((_, { invitationId, roles, createdAt, expiresAt }) => ({
  subject: `invitations/${invitationId}`,
  audience: { action: 'invitation.list', path: '', tags: [] },
  data: { id: invitationId, roles: [...roles], createdAt, expiresAt },
}));

const role = describe<RoleRecord>((_, record) => ({
  subject: `roles/${record.key}`,
  audience: { action: 'role.read', path: resourcePathOf({ roleKey: record.key }), tags: [] },
  data: asJson(viewRole(record)),
}));

const flagHealth = describe<FlagHealthRecord>((key, record, places) => {
  const { flagKey } = record;
  const { projectId, environmentId, projectKey, key: environmentKey, tags } = places.environmentOf(String(key[1]));
  return {
    subject: `projects/${projectKey}/environments/${environmentKey}/flags/${flagKey}/health`,
    audience: {
      action: 'flag.read',
      path: resourcePathOf({ projectKey, environmentKey, flagKey }),
      tags: [...places.flagTagsOf(projectId, flagKey), ...tags],
    },
    projectId,
    environmentId,
    data: viewFlagHealth(flagKey, record),
  };
});

const trigger = describe<TriggerRecord>((_, record) => ({
  subject: `triggers/${record.triggerId}`,
  audience: { action: 'trigger.read', path: '', tags: [] },
  data: viewTrigger(record),
}));

const webhook = describe<WebhookRecord>((_, record) => ({
  subject: `webhooks/${record.webhookId}`,
  audience: { action: 'webhook.read', path: '', tags: [] },
  data: viewWebhook(record),
}));

/** By the noun of a row's key. What is not here is a `change.recorded`, so that nothing secret comes into a feed because somebody forgot it. */
export const FEED_NOUNS: Readonly<Record<string, Describe>> = {
  tenant,
  project,
  environment,
  flag,
  targeting,
  segment,
  credential,
  'admin-credential': adminCredential,
  member,
  invitation,
  role,
  webhook,
  trigger,
  'flag-health': flagHealth,
};

export function findThing(key: StoreKey, row: Versioned, places: FeedPlaces): FeedThing | undefined {
  return FEED_NOUNS[String(key[2])]?.(key, row, places);
}

/** The noun of a key says which record lies there. */
function describe<Row extends Versioned>(
  view: (key: StoreKey, row: Row, places: FeedPlaces) => FeedThing | undefined,
): Describe {
  return (key, row, places) => view(key, row as Row, places);
}
