import { decodeDefinition, segmentReferencesOf } from '@guidon/engine';
import type { Position } from '@guidon/protocol/live-updates';
import type { ConfigMessage } from '@guidon/protocol/signed-config';

const flagName = (key: string): string => `flag\0${key}`;
const segmentName = (key: string): string => `segment\0${key}`;

/**
 * Which definitions each definition of one environment asks: prerequisites, segments, and the keys that a segment lists. A change of one flag in a
 * thousand then costs a `web` stream the evaluation of that flag and of those that ask it, not of the thousand. Bench `propagation web`.
 */
export class FlagReferences {
  /** Of the config that it was made of last. */
  at: Position;
  /** By name: what it asks. */
  readonly #asks = new Map<string, readonly string[]>();
  /** By name: who asks it. */
  readonly #askedBy = new Map<string, Set<string>>();

  /** Of nothing: apply a whole configuration first. */
  constructor(at: Position) {
    this.at = at;
  }

  /** A delta from `at`, or the whole; one definition after another, so that the caller may pause between them. */
  *apply({ delta, epoch, revision }: ConfigMessage & Position): Generator<void> {
    for (const [kind, key] of delta?.removed ?? []) this.#set(`${kind}\0${key}`, []);
    for (const bytes of delta?.changed ?? []) {
      const definition = decodeDefinition(bytes);
      if (!definition.ok) throw new Error('a definition in force can be read');
      const { value } = definition;
      if (value.kind === 'flag') {
        const flags = value.prerequisites.map(({ flag }) => flagName(flag));
        this.#set(flagName(value.key), [...flags, ...segmentsOf(value)]);
      } else if (value.kind === 'segment') this.#set(segmentName(value.key), segmentsOf(value));
      yield;
    }
    this.at = { epoch, revision };
  }

  /** Keys of the flags whose values may differ once `names` have changed, in one order. */
  flagsAskedBy(names: Iterable<string>): string[] {
    const found = new Set<string>();
    const pending = [...names].map(subjectOf);
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (found.has(name)) continue;
      found.add(name);
      for (const asker of this.#askedBy.get(name) ?? []) pending.push(asker);
    }
    const prefix = flagName('');
    return [...found]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length))
      .sort();
  }

  #set(name: string, asks: readonly string[]): void {
    for (const asked of this.#asks.get(name) ?? []) this.#askedBy.get(asked)?.delete(name);
    if (asks.length === 0) this.#asks.delete(name);
    else this.#asks.set(name, asks);
    for (const asked of asks) {
      const askers = this.#askedBy.get(asked);
      if (askers === undefined) this.#askedBy.set(asked, new Set([name]));
      else askers.add(name);
    }
  }
}

function segmentsOf(definition: Parameters<typeof segmentReferencesOf>[0]): string[] {
  return segmentReferencesOf(definition).map(({ segment }) => segmentName(segment));
}

/** A chunk of a segment's keys concerns the segment. */
function subjectOf(name: string): string {
  if (!name.startsWith(CHUNK_PREFIX)) return name;
  const key = name.slice(CHUNK_PREFIX.length);
  const end = key.indexOf('/');
  return segmentName(end < 0 ? key : key.slice(0, end));
}

const CHUNK_PREFIX = 'segment-keys\0';
