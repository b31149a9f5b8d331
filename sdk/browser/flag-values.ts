import type { EvaluatedFlag } from './browser-client.js';

/** Of which configuration values are. `epoch` is unknown where a node went on to the next one while it answered. */
export interface ValuesPosition {
  readonly epoch?: number | undefined;
  readonly revision: number;
}

/** The values of one context. They never go back to an older configuration (I8). */
export class FlagValues {
  #results: ReadonlyMap<string, EvaluatedFlag> = new Map();
  #position: ValuesPosition | undefined;

  /** The same object for as long as nothing differs. */
  get results(): ReadonlyMap<string, EvaluatedFlag> {
    return this.#results;
  }

  /** Undefined: there are none yet. */
  get position(): ValuesPosition | undefined {
    return this.#position;
  }

  /** Takes everything there is. Returns the flags that differ, or undefined when what is held is newer. Whatever stayed equal stays the same object. */
  replace(results: Iterable<EvaluatedFlag>, at: ValuesPosition): readonly string[] | undefined {
    if (this.#isOlder(at)) return undefined;
    const held = this.#results;
    const next = new Map<string, EvaluatedFlag>();
    for (const result of results) {
      const before = held.get(result.flag);
      next.set(result.flag, before !== undefined && isEqual(before, result) ? before : result);
    }
    this.#position = { epoch: at.epoch ?? this.#position?.epoch, revision: at.revision };
    const changed = differences(held, next);
    if (changed.length > 0) this.#results = next;
    return changed;
  }

  #isOlder({ epoch, revision }: ValuesPosition): boolean {
    const held = this.#position;
    if (held === undefined) return false;
    if (epoch !== undefined && held.epoch !== undefined && epoch !== held.epoch) return epoch < held.epoch;
    return revision < held.revision;
  }
}

/** Flags that are in one alone, or are something else. Equal results need not be the same object. */
export function differences(
  before: ReadonlyMap<string, EvaluatedFlag>,
  after: ReadonlyMap<string, EvaluatedFlag>,
): string[] {
  const flagKeys: string[] = [];
  for (const [flagKey, result] of after) {
    const old = before.get(flagKey);
    if (old === undefined || !isEqual(old, result)) flagKeys.push(flagKey);
  }
  for (const flagKey of before.keys()) if (!after.has(flagKey)) flagKeys.push(flagKey);
  return flagKeys;
}

/** Nodes write the members of one result in the same order each time; where they do not, a flag counts as changed. */
function isEqual(a: EvaluatedFlag, b: EvaluatedFlag): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
