import type { FlagDefinition, SegmentDefinition, SegmentKeysDefinition } from '@guidon/engine';
import type { EnvironmentRef } from '@guidon/protocol';
import { assertKept, type DefinitionName, findEntryAt, findNextChange } from '../commit/definition-history.js';
import type { DefinitionEntryRow } from '../commit/definition-store.js';
import { readDefinitionBytes } from '../commit/environment-workspace.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';

interface DefinitionByKind {
  readonly flag: FlagDefinition;
  readonly segment: SegmentDefinition;
  readonly 'segment-keys': SegmentKeysDefinition;
}

/** What one environment served at the revisions that are kept. Every read answers 410 once they are let go, also between two reads. */
export class PastDefinitions {
  readonly #store: StoreReader;
  readonly environment: EnvironmentRef;

  constructor(store: StoreReader, environment: EnvironmentRef) {
    this.#store = store;
    this.environment = environment;
  }

  assertKept(revision: number): void {
    assertKept(this.#store, this.environment, revision);
  }

  findEntry(name: DefinitionName, revision: number): DefinitionEntryRow | undefined {
    return findEntryAt(this.#store, this.environment, name, revision);
  }

  findNextChange(name: DefinitionName, revision: number): number | undefined {
    return findNextChange(this.#store, this.environment, name, revision);
  }

  /** Exactly the bytes that were signed. */
  readBytes(entry: DefinitionEntryRow, revision: number): Buffer {
    // Bytes are let go together with the revision; what is missing otherwise is damage.
    if (!this.#store.has(keys.definition(this.environment, entry.hash))) this.assertKept(revision);
    return readDefinitionBytes(this.#store, this.environment, entry);
  }

  find<Kind extends keyof DefinitionByKind>(
    kind: Kind,
    key: string,
    revision: number,
  ): DefinitionByKind[Kind] | undefined {
    const entry = this.findEntry({ kind, key }, revision);
    return entry === undefined ? undefined : this.read<Kind>(entry, revision);
  }

  /** The entry is one of this kind: its hash covers the kind. */
  read<Kind extends keyof DefinitionByKind>(entry: DefinitionEntryRow, revision: number): DefinitionByKind[Kind] {
    return JSON.parse(this.readBytes(entry, revision).toString('utf8')) as DefinitionByKind[Kind];
  }

  /** Names that some kept revision has: of a kind, or of the chunks of one segment. */
  names(kind: string, owner?: string): DefinitionName[] {
    const range = keys.definitionNames(this.environment, kind, owner);
    return this.#store.list<DefinitionName>(range).map(({ value }) => value);
  }
}
