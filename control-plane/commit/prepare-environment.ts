import { PlatformError } from '@guidon/protocol';
import { DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import type { StoreReader } from '../store/control-store.js';
import type { DefinitionChange, EnvironmentChange } from './change.js';
import { findEntry, type ResolvedDefinition } from './definition-store.js';
import { type Definition, definitionKey, encodeDefinition } from './engine.js';
import { applyChanges, newServedSet, type Workspace, type Workspaces } from './environment-workspace.js';

/** The workspace before the first revision. */
const NO_REVISION = { epoch: 1, revision: 0, digest: '', bytes: 0 };

/** A change of one environment, compared with what is in force, but not written. */
export interface PreparedEnvironment {
  readonly change: EnvironmentChange;
  /** What was in force when it was prepared; the transaction checks that it still is. */
  readonly base: Workspace;
  readonly definitions: readonly ResolvedDefinition[];
  readonly isRaised: boolean;
  /** What is in force once it is committed; equal to `base` when nothing served changes. */
  readonly next: Workspace;
  /** Takes the change out of the base's digest tree and set again. Call it whenever the change was not committed. */
  readonly undo: () => void;
}

/** Works out what the environment would serve. The caller holds the environment's lock, so `base` is in force until the transaction. */
export function prepareEnvironment(
  store: StoreReader,
  workspaces: Workspaces,
  change: EnvironmentChange,
): PreparedEnvironment {
  const { environment } = change;
  const base = workspaces.open(store, environment) ?? {
    ...NO_REVISION,
    tree: new DigestTree(),
    flagSet: newServedSet(),
  };
  if ((base.revision === 0) !== (change.isNew === true)) {
    throw new PlatformError('not-found', 'there is no such environment');
  }
  const resolved = (change.definitions ?? []).map((definition) => resolve(store, change, definition));
  const definitions = resolved.filter(({ hash, previousHash }) => hash !== previousHash);
  const epoch = Math.max(base.epoch, change.epoch ?? 0);
  const isRaised = definitions.length > 0 || change.isNew === true || epoch > base.epoch;
  if (!isRaised) return { change, base, definitions, isRaised, next: base, undo: () => {} };

  const revision = base.revision + 1;
  const { digest, undo } = applyChanges(base, definitions);
  const bytes = definitions.reduce((sum, definition) => sum + (definition.bytes?.length ?? 0), base.bytes);
  const next: Workspace = { ...base, epoch, revision, digest, bytes };
  return { change, base, definitions, isRaised, next, undo };
}

function resolve(store: StoreReader, { environment }: EnvironmentChange, change: DefinitionChange): DefinitionToWrite {
  if ('remove' in change) {
    const { kind, key } = change.remove;
    const previousHash = findEntry(store, environment, kind, key)?.hash;
    return { kind, key, hash: undefined, bytes: undefined, previousHash, definition: undefined };
  }
  const { kind } = change.put;
  const key = definitionKey(change.put);
  const bytes = encodeDefinition(change.put);
  const hash = Buffer.from(hashDefinition(bytes)).toString('hex');
  const previousHash = findEntry(store, environment, kind, key)?.hash;
  return { kind, key, hash, bytes, previousHash, definition: change.put };
}

interface DefinitionToWrite extends ResolvedDefinition {
  readonly definition: Definition | undefined;
}
