import type { CompilePool } from '@guidon/pool';
import type { ChangeBus } from '@guidon/protocol';
import type { Logger } from 'pino';
import type { TreeHeads } from './audit/tree-heads.js';
import type { Committer } from './commit/committer.js';
import type { EventIntake } from './events/event-intake.js';
import type { Feed } from './feed/feed.js';
import type { NodeDirectory } from './nodes/node-directory.js';
import type { ReleaseGate } from './releases/release-gate.js';
import type { SigningKeys } from './signing-keys/signing-keys.js';
import type { ControlStore } from './store/control-store.js';
import type { TenantRemovals } from './tenants/tenant-removals.js';

/** What every noun is given: reads go to `store`, writes to `committer`, nothing else is shared. */
export interface ControlPlaneCore {
  readonly store: ControlStore;
  readonly committer: Committer;
  /** What changed in each tenant, in order. */
  readonly feed: Feed;
  /** Evaluates off the thread that answers requests. */
  readonly pool: CompilePool;
  readonly signingKeys: SigningKeys;
  readonly treeHeads: TreeHeads;
  readonly removals: TenantRemovals;
  /** Where every environment stands, and which revision nodes are given. */
  readonly releases: ReleaseGate;
  readonly bus: ChangeBus;
  /** Where what nodes and SDKs tell of evaluations comes in. */
  readonly events: EventIntake;
  /** What nodes say that they serve. */
  readonly nodes: NodeDirectory;
  readonly logger: Logger;
  /** Epoch milliseconds, for display, expiry and signature windows only (I27). */
  readonly now: () => number;
}
