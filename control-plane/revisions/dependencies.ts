import { setImmediate } from 'node:timers/promises';
import { type FlagDefinition, isInChunk, type SegmentDefinition, segmentReferencesOf } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import type { DefinitionName } from '../commit/definition-history.js';
import type { DefinitionEntryRow } from '../commit/definition-store.js';
import type { PastDefinitions } from './past-definitions.js';

/** A definition that an evaluation may look at, or would if it were there. */
export interface Dependency extends DefinitionName {
  /** What is in force; undefined = nothing. */
  readonly entry: DefinitionEntryRow | undefined;
  /** The revision at which that ends; undefined = it is in force still. */
  readonly until: number | undefined;
}

/** What one evaluation may depend on, chunks of key lists counted one by one. */
const DEPENDENCIES_MAX = 20_000;
/** Bytes of the definitions that one question may need. */
export const DEFINITION_BYTES_MAX = 32 * 1024 * 1024;
/** Look-ups between two looks at the event loop. */
const LOOKUPS_AT_ONCE = 256;

/**
 * What the answers to one context depend on: flags, their prerequisites, segments, and of the key lists the chunks that could hold the context's
 * keys, so that a million keys cost no more than a few. For one request, asked about revisions in ascending order.
 */
export class Dependencies {
  readonly #past: PastDefinitions;
  /** Of the context, by kind. */
  readonly #targetingKeys: ReadonlyMap<string, string>;
  readonly #known = new Map<string, Dependency>();
  /** By hash of the definition: what it names. */
  readonly #references = new Map<string, readonly DefinitionName[]>();
  readonly #chunks = new Map<string, readonly DefinitionName[]>();
  #bytes = 0;

  constructor(past: PastDefinitions, targetingKeys: ReadonlyMap<string, string>) {
    this.#past = past;
    this.#targetingKeys = targetingKeys;
  }

  /** Everything that these flags may look at, by `kind NUL key`. */
  async at(revision: number, flags: readonly string[]): Promise<ReadonlyMap<string, Dependency>> {
    this.#bytes = 0;
    const found = new Map<string, Dependency>();
    const waiting: DefinitionName[] = flags.map((key) => ({ kind: 'flag', key }));
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const id = `${name.kind}\0${name.key}`;
      if (found.has(id)) continue;
      const dependency = this.#lookUp(id, name, revision);
      found.set(id, dependency);
      if (found.size > DEPENDENCIES_MAX) throw tooMuch();
      if (found.size % LOOKUPS_AT_ONCE === 0) await setImmediate();
      if (dependency.entry !== undefined) waiting.push(...this.#referencesOf(dependency.entry, revision));
    }
    return found;
  }

  #lookUp(id: string, { kind, key }: DefinitionName, revision: number): Dependency {
    const known = this.#known.get(id);
    if (known !== undefined && (known.until === undefined || revision < known.until)) return known;
    const name = { kind, key };
    const dependency = {
      ...name,
      entry: this.#past.findEntry(name, revision),
      until: this.#past.findNextChange(name, revision),
    };
    this.#known.set(id, dependency);
    return dependency;
  }

  #referencesOf(entry: DefinitionEntryRow, revision: number): readonly DefinitionName[] {
    if (entry.kind === 'segment-keys') return [];
    const known = this.#references.get(entry.hash);
    if (known !== undefined) return known;
    const bytes = this.#past.readBytes(entry, revision);
    this.#bytes += bytes.length;
    if (this.#bytes > DEFINITION_BYTES_MAX) throw tooMuch();
    const definition = JSON.parse(bytes.toString('utf8')) as FlagDefinition | SegmentDefinition;
    const references = [
      ...(definition.kind === 'flag' ? definition.prerequisites.map(({ flag }) => ({ kind: 'flag', key: flag })) : []),
      ...segmentReferencesOf(definition).map(({ segment }) => ({ kind: 'segment', key: segment })),
      ...(definition.kind === 'segment' ? this.#chunksOf(definition.key) : []),
    ];
    this.#references.set(entry.hash, references);
    return references;
  }

  /** Chunks of any kept revision that a key of the context would lie in. */
  #chunksOf(segment: string): readonly DefinitionName[] {
    const known = this.#chunks.get(segment);
    if (known !== undefined) return known;
    const chunks = this.#past.names('segment-keys', segment).filter(({ key }) => {
      const [, , prefix = '', ...contextKind] = key.split('/');
      const targetingKey = this.#targetingKeys.get(contextKind.join('/'));
      return targetingKey !== undefined && isInChunk(prefix, targetingKey);
    });
    this.#chunks.set(segment, chunks);
    return chunks;
  }
}

export function tooMuch(): PlatformError {
  return new PlatformError('limit-exceeded', 'the flags asked for depend on too many definitions: ask for fewer');
}
