import type { EnvironmentId, Json, ProjectId } from '@guidon/protocol';
import type { AuditActor } from '../admin-api/actor.js';
import type { Action } from '../admin-api/policy.js';
import type { ResourcePath } from '../roles/resource-path.js';

/**
 * Row of a tenant's feed: what one change made of one thing. A change of several things is several rows, next to each other, so that each is
 * shown to whoever may read that thing. Written by the committer from the records of the change: no noun can forget it.
 */
export interface FeedRow {
  /** 1, 2, 3 … per tenant, without a gap. */
  readonly sequence: number;
  /** `flag.created`, `flag.updated`, `flag.archived`, `flag.unarchived`, `flag.deleted` and the same of every noun in FEED_NOUNS; `credential.revoked`; `environment.revision`; `change.recorded`. */
  readonly type: string;
  /** Path of the thing below its tenant, such as `projects/shop/flags/new-checkout`: the same thing has the same subject for ever. */
  readonly subject: string;
  /** Epoch milliseconds. For people; order is the sequence. */
  readonly at: number;
  readonly actor: AuditActor;
  /** The action of the change, as the audit entry names it: several rows may stem from one. */
  readonly action: string;
  /** One sentence for people, of the whole change. */
  readonly summary: string;
  /** Of the tenant's audit log. */
  readonly auditSequence: number;
  readonly projectId?: ProjectId;
  readonly environmentId?: EnvironmentId;
  /** Where the environment stands after the change; on rows of things that stand in one. */
  readonly revision?: number;
  /** Of `environment.revision`: what is served anew or no longer, as `kind/key`, the first DEFINITIONS_NAMED_MAX of `count`. */
  readonly definitions?: { readonly count: number; readonly names: readonly string[] };
  /** The whole thing as the admin API shows it, without what is secret or of a person; null: it is no longer there. */
  readonly data: Json;
  /** Who sees the row: whoever may do `action` on the thing as it was then. */
  readonly audience: FeedAudience;
}

export interface FeedAudience {
  readonly action: Action;
  readonly path: ResourcePath;
  readonly tags: readonly string[];
}

export const DEFINITIONS_NAMED_MAX = 100;

/** A row before it has its place. */
export type NewFeedRow = Omit<FeedRow, 'sequence'>;
