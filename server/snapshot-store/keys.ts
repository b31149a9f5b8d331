import type { EnvironmentRef } from '@guidon/protocol';

/**
 * Keys of the node's own LMDB. Every row of an environment starts with (tenant, environment) and is read by that prefix only (I16); rows
 * of the node itself start with '', which no tenant id can be.
 *
 *   key                                   value
 *   ['', 'trust']                         root public key and the key set in force, as received
 *   ['', 'environment', environmentId]    the three ids
 *   ['', 'change']                        how many changes were committed: what the other processes of the node compare
 *   ['', 'witness', owner]                the newest head of an audit log that was taken, as received; owner: tenant or '$'
 *   ['', 'ended', term]                   the writer with this number has been followed by another: its commits fail
 *   [t, e, 'state']                       manifest and signature as received, hash of the root
 *   [t, e, 'root', hash]                  root block of a snapshot, named by a state
 *   [t, e, 'block', block id]             one block of the snapshot
 *   [t, e, 'index', hash of kind and key] kind, key and hash of one definition
 *   [t, e, 'definition', hash]            definition bytes as received
 *   [t, e, 'access']                      access list and signature as received
 *   [t, e, 'mark', topic]                 high-water mark of `config` or `access` (I7)
 *   [t, e, 'fallback']                    how the rows above differ from the last good revision before
 *   [t, e, 'fallback-state']              its 'state'
 *   [t, e, 'quarantine', digest, build]   a revision that failed a check of one build of the evaluator (I10)
 */
export type StoreKey = readonly string[];

export type MarkTopic = 'config' | 'access';

const of =
  (kind: string) =>
  ({ tenantId, environmentId }: EnvironmentRef, ...rest: string[]): StoreKey => [
    tenantId,
    environmentId,
    kind,
    ...rest,
  ];

export const keys = {
  trust: (): StoreKey => ['', 'trust'],
  changeCount: (): StoreKey => ['', 'change'],
  /** Ten digits, so that they are listed in order. */
  ended: (term: number): StoreKey => [...keys.allEnded(), String(term).padStart(10, '0')],
  allEnded: (): StoreKey => ['', 'ended'],
  environments: (): StoreKey => ['', 'environment'],
  environment: ({ environmentId }: EnvironmentRef): StoreKey => ['', 'environment', environmentId],
  witnessedHeads: (): StoreKey => ['', 'witness'],
  witnessedHead: (owner: string): StoreKey => ['', 'witness', owner],
  /** Prefix of everything an environment has. */
  all: ({ tenantId, environmentId }: EnvironmentRef): StoreKey => [tenantId, environmentId],
  state: of('state'),
  root: (environment: EnvironmentRef, hash: string): StoreKey => of('root')(environment, hash),
  blocks: of('block'),
  block: (environment: EnvironmentRef, id: string): StoreKey => of('block')(environment, id),
  index: of('index'),
  indexEntry: (environment: EnvironmentRef, nameHash: string): StoreKey => of('index')(environment, nameHash),
  definition: (environment: EnvironmentRef, hash: string): StoreKey => of('definition')(environment, hash),
  access: of('access'),
  mark: (environment: EnvironmentRef, topic: MarkTopic): StoreKey => of('mark')(environment, topic),
  fallback: of('fallback'),
  fallbackState: of('fallback-state'),
  quarantined: of('quarantine'),
  quarantine: (environment: EnvironmentRef, digest: string, build: string): StoreKey =>
    of('quarantine')(environment, digest, build),
} as const;
