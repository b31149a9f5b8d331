import { type EnvironmentRef, parseTenantId } from '@guidon/protocol';
import { SYSTEM_ACTOR } from '../admin-api/actor.js';
import type { Change } from '../commit/change.js';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import type { ControlPlaneCore } from '../core.js';
import { newFeedStart } from '../feed/feed.js';
import { INSTALLATION, keys, lastPart } from '../store/keys.js';

/** The row under `keys.restoration`: a backup was put in place, and what nodes hold may be newer by number. */
export interface RestorationRow {
  /** What every environment's epoch becomes. */
  readonly epoch: number;
  /** Of the backup, epoch milliseconds. */
  readonly madeAt: number;
  readonly restoredAt: number;
}

/** Environments raised at the same time; their commits are grouped. */
const IN_FLIGHT_MAX = 16;
const FEEDS_PER_TRANSACTION = 200;

/**
 * After a restore, before anything is served: gives every environment the new epoch, in a revision and an access list of its own with an audit
 * entry, so that nodes take what was restored for newer than what they have (wire, (epoch, revision)). May be ended at any moment: the next
 * start goes on. Answers how many were raised.
 */
export async function raiseEpochs(core: ControlPlaneCore): Promise<number> {
  const { store } = core;
  const restoration = store.find<RestorationRow>(keys.restoration());
  if (restoration === undefined) return 0;
  const behind = store
    .list<EnvironmentRef>(keys.environmentOwners())
    .map(({ value }) => ({ environment: value, state: store.find<EnvironmentStateRow>(keys.environmentState(value)) }))
    // What a deletion that was under way has left of a tenant serves nobody, and takes no change any more.
    .filter(({ environment }) => store.has(keys.tenant(environment.tenantId)))
    .filter(({ state }) => state !== undefined && state.epoch < restoration.epoch);
  await restartFeeds(core);
  for (let first = 0; first < behind.length; first += IN_FLIGHT_MAX) {
    const next = behind.slice(first, first + IN_FLIGHT_MAX);
    await Promise.all(next.map(({ environment, state }) => raise(core, environment, state?.epoch ?? 0, restoration)));
  }
  const done: Change = {
    ...changeOf(restoration),
    owner: INSTALLATION,
    subject: 'installation',
    before: undefined,
    after: { epoch: restoration.epoch, environments: behind.length },
    rows: [
      { key: keys.restoration(), value: undefined },
      // Heads of audit logs say from now on that a restore may have cut them.
      { key: keys.restoredEpoch(), value: restoration.epoch },
    ],
  };
  await core.committer.commit(WRITE, undefined, () => done);
  return behind.length;
}

/** Whoever followed a feed further than the backup knows a past that is none any more. */
async function restartFeeds({ store, feed, now }: ControlPlaneCore): Promise<void> {
  const tenants = store.list(keys.tenants()).map(({ key }) => parseTenantId(lastPart(key)));
  for (let first = 0; first < tenants.length; first += FEEDS_PER_TRANSACTION) {
    const some = tenants.slice(first, first + FEEDS_PER_TRANSACTION);
    await store.transaction((transaction) => {
      for (const tenantId of some) {
        transaction.put(keys.feedStart(tenantId), newFeedStart(feed.bounds(tenantId).end, now()));
      }
    });
    for (const tenantId of some) feed.forgetHead(tenantId);
  }
}

const WRITE = { actor: SYSTEM_ACTOR, requestId: 'restore', dryRun: false } as const;

async function raise(
  core: ControlPlaneCore,
  environment: EnvironmentRef,
  before: number,
  restoration: RestorationRow,
): Promise<void> {
  const { tenantId, projectId, environmentId } = environment;
  await core.committer.commit(WRITE, { projectId, environmentId }, () => ({
    ...changeOf(restoration),
    owner: tenantId,
    subject: `environments/${environmentId}`,
    before: { epoch: before },
    after: { epoch: restoration.epoch },
    environments: [{ environment, epoch: restoration.epoch, access: true }],
  }));
}

function changeOf({ madeAt, epoch }: RestorationRow): Pick<Change, 'action' | 'summary' | 'records' | 'reply'> {
  return {
    action: 'installation.restore',
    summary: `restored from the backup of ${new Date(madeAt).toISOString()}; the epoch is ${epoch} now`,
    records: [],
    reply: () => ({ status: 200, body: {} }),
  };
}
