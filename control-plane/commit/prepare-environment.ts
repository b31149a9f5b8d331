import { type Issue, PlatformError } from '@guidon/protocol';
import { DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import { pointerOf } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import type { DefinitionChange, EnvironmentChange } from './change.js';
import { findEntry, type ResolvedDefinition } from './definition-store.js';
import { checkOnCompiler, type Definition, decodeDefinition, definitionKey, encodeDefinition } from './engine.js';
import {
  applyToTree,
  EMPTY_FLAG_SET,
  type Workspace,
  type Workspaces,
  withDefinitions,
} from './environment-workspace.js';

/** The workspace before the first revision. */
const NO_REVISION = { epoch: 1, revision: 0, digest: '', flagSet: EMPTY_FLAG_SET, compiled: undefined, bytes: 0 };

/** A change of one environment, compared with what is in force and compiled, but not written. */
export interface PreparedEnvironment {
  readonly change: EnvironmentChange;
  /** What was in force when it was prepared; the transaction checks that it still is. */
  readonly base: Workspace;
  readonly definitions: readonly ResolvedDefinition[];
  readonly isRaised: boolean;
  /** What is in force once it is committed; equal to `base` when nothing served changes. */
  readonly next: Workspace;
  readonly issues: readonly Issue[];
  /** Takes the change out of the base's digest tree again. Call it whenever the change was not committed. */
  readonly undo: () => void;
}

/**
 * Compiles what the environment would serve on the real compiler: what a node would refuse is refused here first. The caller holds
 * the environment's lock, so `base` is in force until the transaction.
 */
export function prepareEnvironment(
  store: StoreReader,
  workspaces: Workspaces,
  change: EnvironmentChange,
): PreparedEnvironment {
  const { environment } = change;
  const base = workspaces.open(store, environment) ?? { ...NO_REVISION, tree: new DigestTree() };
  if ((base.revision === 0) !== (change.isNew === true)) {
    throw new PlatformError('not-found', 'there is no such environment');
  }
  const resolved = (change.definitions ?? []).map((definition) => resolve(store, change, definition));
  const definitions = resolved.filter(({ hash, previousHash }) => hash !== previousHash);
  const isRaised = definitions.length > 0 || change.isNew === true;
  if (!isRaised) return { change, base, definitions, isRaised, next: base, issues: [], undo: () => {} };

  const put = definitions.flatMap(({ definition }) => (definition === undefined ? [] : [definition]));
  const removed = definitions.filter(({ definition }) => definition === undefined);
  const flagSet = withDefinitions(base.flagSet, put, removed);
  const revision = base.revision + 1;
  const unreadable = definitions.flatMap(({ unreadable: found }) => found);
  const { compiled, issues } =
    unreadable.length > 0
      ? { compiled: undefined, issues: unreadable }
      : checkOnCompiler(flagSet, put, { environment, revision, previous: base.compiled });
  const { digest, undo } = applyToTree(base.tree, definitions);
  const bytes = definitions.reduce((sum, definition) => sum + (definition.bytes?.length ?? 0), base.bytes);
  const next: Workspace = { epoch: base.epoch, revision, digest, tree: base.tree, flagSet, compiled, bytes };
  return { change, base, definitions, isRaised, next, issues, undo };
}

/** All issues of all environments as one refusal, each pointing below the environment it is in. */
export function assertCompiles(prepared: readonly PreparedEnvironment[]): void {
  const issues = prepared.flatMap((environment) => [...environment.issues]);
  const first = issues[0];
  if (first === undefined) return;
  throw new PlatformError(first.code, first.detail, { issues });
}

interface DefinitionToCheck extends ResolvedDefinition {
  /** As a node will decode it from the bytes. */
  readonly definition: Definition | undefined;
  readonly unreadable: readonly Issue[];
}

function resolve(store: StoreReader, { environment }: EnvironmentChange, change: DefinitionChange): DefinitionToCheck {
  if ('remove' in change) {
    const { kind, key } = change.remove;
    const previousHash = findEntry(store, environment, kind, key)?.hash;
    return { kind, key, hash: undefined, bytes: undefined, previousHash, definition: undefined, unreadable: [] };
  }
  const { kind } = change.put;
  const key = definitionKey(change.put);
  const bytes = encodeDefinition(change.put);
  const hash = Buffer.from(hashDefinition(bytes)).toString('hex');
  const previousHash = findEntry(store, environment, kind, key)?.hash;
  const resolved = { kind, key, hash, bytes, previousHash };
  if (hash === previousHash) return { ...resolved, definition: change.put, unreadable: [] };
  const decoded = decodeDefinition(bytes);
  if (decoded.ok) return { ...resolved, definition: decoded.value, unreadable: [] };
  const unreadable = decoded.issues.map((issue) => ({
    ...issue,
    pointer: `${pointerOf([kind, key])}${issue.pointer}`,
  }));
  return { ...resolved, definition: change.put, unreadable };
}
