import type { EnvironmentRef, Issue, Json } from '@guidon/protocol';
import type { Actor } from '../admin-api/actor.js';
import type { Action } from '../admin-api/policy.js';
import type { RequestOrigin } from '../audit/audit-entry.js';
import type { StoreReader, StoreTransaction } from '../store/control-store.js';
import type { Scope, StoreKey } from '../store/keys.js';
import type { DiffEntry } from './diff.js';
import type { Definition } from './engine.js';

/** Every record a person can edit. Its ETag is `"<version>"`. */
export interface Versioned {
  /** 1 when created, +1 per change. */
  readonly version: number;
}

/** Who asks for a write and under which conditions; made by the route plumbing, handed on untouched by services. */
export interface WriteRequest {
  readonly actor: Actor;
  readonly requestId: string;
  /** Absent for what the platform does by itself. */
  readonly from?: RequestOrigin;
  /** The versions the caller has seen; undefined when the route asks for none. Compare with `assertIfMatch`. */
  readonly ifMatch?: readonly string[] | undefined;
  /** Answer what would happen and change nothing. */
  readonly dryRun: boolean;
  /** Why, in the caller's words. Kept in the audit entry. */
  readonly comment?: string | undefined;
  /** Media type of a PATCH body. */
  readonly patchType?: 'application/merge-patch+json' | 'application/json-patch+json' | undefined;
  /** Told what the change has made once it is durable. */
  readonly committed?: ((outcome: ChangeOutcome) => void) | undefined;
  /** Writes the idempotency record of the reply inside the transaction of the change. */
  readonly remember?: ((transaction: StoreTransaction, reply: Reply) => void) | undefined;
}

/** What a route answers. `etag` is a version. */
export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly etag?: number;
  readonly location?: string;
  /** Set-Cookie headers. */
  readonly cookies?: readonly string[];
}

/** What of the store a plan may decide about while nobody else does. */
export type ChangeScope =
  /** Everything of a project, all of its environments included. */
  | { readonly projectId: string; readonly environmentId?: undefined }
  /** One environment; other environments of the project go on. */
  | { readonly projectId: string; readonly environmentId: string }
  /** Neither: only the versions of the records protect the plan. */
  | undefined;

export interface Change {
  /** Whose audit chain it goes to. */
  readonly owner: Scope;
  readonly action: Action;
  /** Path of the changed thing below its owner, such as `projects/shop/flags/new-checkout`. */
  readonly subject: string;
  /** One sentence for people: what changed, semantically. */
  readonly summary: string;
  /** The same without the person whom it is about, for the feed, which is copied elsewhere; default: `summary`. */
  readonly feedSummary?: string;
  /** The thing as callers see it, before and after; undefined = not there. Diffed for dry runs and for the audit log; never a secret. */
  readonly before: Json | undefined;
  readonly after: Json | undefined;
  /** Kept in the audit entry as it is, for changes too large for before and after: counts, digests, a capped sample. */
  readonly details?: Json;
  readonly records: readonly RecordWrite[];
  /** Records the plan relied on but does not write, as it read them. */
  readonly relied?: readonly RecordRead[];
  /** Look-up rows without a version. `value` undefined removes. */
  readonly rows?: readonly { readonly key: StoreKey; readonly value: unknown }[];
  /** Environments that this touches. A service lists each once. */
  readonly environments?: readonly EnvironmentChange[];
  /**
   * Throws to refuse. For limits that no record stands for: asked inside the transaction, where nothing comes between the answer and the write,
   * besides whatever the plan asked to refuse early.
   */
  readonly assertInside?: (transaction: StoreReader) => void;
  /** Called inside the transaction, once revisions are known, and for idempotent replays stored as it is. Without effect: it may be called again (ADR 47). */
  readonly reply: (outcome: ChangeOutcome) => Reply;
}

/** `value.version` is the version read plus 1. `value` undefined removes the record. */
export interface RecordWrite {
  readonly key: StoreKey;
  /** As the plan read it; undefined = it must not be there. */
  readonly read: Versioned | undefined;
  readonly value: Versioned | undefined;
}

export interface RecordRead {
  readonly key: StoreKey;
  readonly read: Versioned | undefined;
}

export interface EnvironmentChange {
  readonly environment: EnvironmentRef;
  /** What the environment serves from now on. Definitions equal to the ones in force are no change and raise no revision. */
  readonly definitions?: readonly DefinitionChange[];
  /** The environment's SDK keys changed: sign a new access list. */
  readonly access?: boolean;
  /** It only adds flags that are off, which nobody can have asked for: no answer changes, so nobody's leave to change what it serves is needed. */
  readonly changesNoAnswer?: boolean;
  /** Raises the epoch to this; the revision is raised with it, whether or not anything served changes. Only a restore does (wire). */
  readonly epoch?: number;
  /** The environment is made by this change: it gets revision 1 and access list 1 whatever it holds. */
  readonly isNew?: boolean;
}

export type DefinitionChange =
  | { readonly put: Definition }
  | { readonly remove: { readonly kind: Definition['kind']; readonly key: string } };

/** Where each touched environment stands after the change. */
export interface ChangeOutcome {
  readonly environments: readonly EnvironmentOutcome[];
}

export interface EnvironmentOutcome {
  readonly environment: EnvironmentRef;
  readonly epoch: number;
  readonly revision: number;
  /** False when nothing that is served changed, so the revision is the one before. */
  readonly isRaised: boolean;
  readonly accessSequence: number;
  /** Whether the change made that list. */
  readonly isAccessRaised: boolean;
}

/** The body of a `?dryRun=true` answer. */
export interface DryRunReport {
  readonly dryRun: true;
  readonly summary: string;
  readonly diff: readonly DiffEntry[];
  readonly environments: readonly {
    readonly environmentId: string;
    readonly revision: number;
    readonly changedDefinitions: number;
    readonly issues: readonly Issue[];
  }[];
}
