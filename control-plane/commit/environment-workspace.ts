import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { DefinitionEntryRow, EnvironmentStateRow, ResolvedDefinition } from './definition-store.js';
import {
  type Definition,
  definitionKey,
  type FlagDefinition,
  type FlagSet,
  type SegmentDefinition,
  type SegmentKeysDefinition,
} from './engine.js';

/** A FlagSet whose maps change with the environment, so that a change of one flag does not copy a map of thousands. */
export interface ServedSet extends FlagSet {
  readonly flags: Map<string, FlagDefinition>;
  readonly segments: Map<string, SegmentDefinition>;
  readonly segmentKeys: Map<string, SegmentKeysDefinition>;
}

/** What is kept in memory of one environment, so that a change costs the change and not the environment. Equals the store at `revision`. */
export interface Workspace {
  readonly epoch: number;
  readonly revision: number;
  readonly digest: string;
  readonly tree: DigestTree;
  /** Of the newest change that was prepared, like the tree: only who holds the environment's lock reads it. */
  readonly flagSet: ServedSet;
  /** Sum of the definition bytes: what the workspace weighs in the cache. */
  readonly bytes: number;
}

const WORKSPACES_MAX = 64;
const WORKSPACE_BYTES_MAX = 512 * 1024 * 1024;

/**
 * Workspaces of recently changed environments, least recently used out first. An entry is replaced only after the commit that made it,
 * and ignored when the store is at another revision, so an aborted transaction leaves nothing here.
 */
export class Workspaces {
  readonly #byEnvironment = new Map<string, Workspace>();
  #bytes = 0;

  /** The environment as the store has it; undefined when the environment has no revision yet. */
  open(store: StoreReader, environment: EnvironmentRef): Workspace | undefined {
    const state = store.find<EnvironmentStateRow>(keys.environmentState(environment));
    if (state === undefined) return undefined;
    const cached = this.#byEnvironment.get(environment.environmentId);
    if (cached !== undefined && cached.revision === state.revision && cached.epoch === state.epoch) return cached;
    const workspace = loadWorkspace(store, environment, state);
    this.keep(environment, workspace);
    return workspace;
  }

  keep(environment: EnvironmentRef, workspace: Workspace): void {
    this.forget(environment);
    this.#byEnvironment.set(environment.environmentId, workspace);
    this.#bytes += workspace.bytes;
    for (const [environmentId, oldest] of this.#byEnvironment) {
      if (this.#byEnvironment.size <= WORKSPACES_MAX && this.#bytes <= WORKSPACE_BYTES_MAX) break;
      if (this.#byEnvironment.size === 1) break;
      this.#byEnvironment.delete(environmentId);
      this.#bytes -= oldest.bytes;
    }
  }

  forget(environment: EnvironmentRef): void {
    const cached = this.#byEnvironment.get(environment.environmentId);
    if (cached === undefined) return;
    this.#byEnvironment.delete(environment.environmentId);
    this.#bytes -= cached.bytes;
  }
}

export function newServedSet(): ServedSet {
  return { flags: new Map(), segments: new Map(), segmentKeys: new Map() };
}

/** Puts a definition in its place; undefined takes it away. Answers what was there. */
function setServed(
  served: ServedSet,
  kind: string,
  key: string,
  definition: Definition | undefined,
): Definition | undefined {
  const of = kind === 'flag' ? served.flags : kind === 'segment' ? served.segments : served.segmentKeys;
  const before = of.get(key);
  if (definition === undefined) of.delete(key);
  else if (definition.kind === 'flag') served.flags.set(key, definition);
  else if (definition.kind === 'segment') served.segments.set(key, definition);
  else served.segmentKeys.set(key, definition);
  return before;
}

export const EMPTY_FLAG_SET: FlagSet = { flags: new Map(), segments: new Map(), segmentKeys: new Map() };

function loadWorkspace(store: StoreReader, environment: EnvironmentRef, state: EnvironmentStateRow): Workspace {
  const tree = new DigestTree();
  const definitions: Definition[] = [];
  let bytes = 0;
  for (const { entry, definition } of readDefinitions(store, environment)) {
    tree.set(entry.kind, entry.key, Buffer.from(entry.hash, 'hex'));
    definitions.push(JSON.parse(definition.toString('utf8')) as Definition);
    bytes += definition.length;
  }
  if (tree.digest() !== state.digest) {
    throw new PlatformError('storage-unavailable', 'the stored definitions do not match their digest');
  }
  const flagSet = newServedSet();
  for (const definition of definitions) setServed(flagSet, definition.kind, definitionKey(definition), definition);
  return { ...state, tree, flagSet, bytes };
}

/** Every definition in force with its exact bytes, each checked against its hash. */
export function* readDefinitions(
  store: StoreReader,
  environment: EnvironmentRef,
): Generator<{ entry: DefinitionEntryRow; definition: Buffer }> {
  for (const { value: entry } of store.list<DefinitionEntryRow>(keys.definitionEntries(environment))) {
    yield { entry, definition: readDefinitionBytes(store, environment, entry) };
  }
}

export function readDefinitionBytes(
  store: StoreReader,
  environment: EnvironmentRef,
  entry: DefinitionEntryRow,
): Buffer {
  const definition = store.findBytes(keys.definition(environment, entry.hash));
  if (definition === undefined || Buffer.from(hashDefinition(definition)).toString('hex') !== entry.hash) {
    throw new PlatformError('storage-unavailable', `the definition ${entry.kind} ${entry.key} is damaged`);
  }
  return definition;
}

/** A new flag set; maps of kinds that do not change are shared with `base`. */
export function withDefinitions(
  base: FlagSet,
  put: readonly Definition[],
  removed: readonly { readonly kind: string; readonly key: string }[],
): FlagSet {
  return {
    flags: patchMap(base.flags, put.filter(isFlag), removed, 'flag'),
    segments: patchMap(base.segments, put.filter(isSegment), removed, 'segment'),
    segmentKeys: patchMap(base.segmentKeys, put.filter(isSegmentKeys), removed, 'segment-keys'),
  };
}

const isFlag = (definition: Definition) => definition.kind === 'flag';
const isSegment = (definition: Definition) => definition.kind === 'segment';
const isSegmentKeys = (definition: Definition) => definition.kind === 'segment-keys';

function patchMap<Kind extends Definition>(
  base: ReadonlyMap<string, Kind>,
  put: readonly Kind[],
  removed: readonly { readonly kind: string; readonly key: string }[],
  kind: Kind['kind'],
): ReadonlyMap<string, Kind> {
  const gone = removed.filter((entry) => entry.kind === kind);
  if (put.length === 0 && gone.length === 0) return base;
  const map = new Map(base);
  for (const { key } of gone) map.delete(key);
  for (const definition of put) map.set(definitionKey(definition), definition);
  return map;
}

/** Puts the changes into the tree and the set, and answers the new root and how to take them out again. */
export function applyChanges(
  { tree, flagSet }: Pick<Workspace, 'tree' | 'flagSet'>,
  definitions: readonly (ResolvedDefinition & { readonly definition: Definition | undefined })[],
): { digest: string; undo: () => void } {
  const set = (kind: string, key: string, hash: string | undefined): void => {
    if (hash === undefined) tree.delete(kind, key);
    else tree.set(kind, key, Buffer.from(hash, 'hex'));
  };
  const before = definitions.map(({ kind, key, hash, previousHash, definition }) => {
    set(kind, key, hash);
    return { kind, key, previousHash, definition: setServed(flagSet, kind, key, definition) };
  });
  return {
    digest: tree.digest(),
    undo: () => {
      for (const { kind, key, previousHash, definition } of before.toReversed()) {
        set(kind, key, previousHash);
        setServed(flagSet, kind, key, definition);
      }
    },
  };
}
