import { FLAG_FUEL } from '@guidon/protocol';
import type { CompiledFlag } from './compile-flag.js';
import type { CompiledSegment } from './compile-segment.js';
import type { Cost } from './condition-cost.js';

/** Beyond this a cost says only "very much"; it also ends the walk over references that multiply. */
const COST_MAX = 0xffffffff;
const PREREQUISITE_FUEL = 4;

/**
 * Worst-case cost of each flag with everything it makes the kernel evaluate, for attributes that are no arrays and have at
 * most 63 bytes. One instance serves one compile; flags and segments are visited once.
 */
export class FlagCosts {
  readonly #flagUnits: ReadonlyMap<string, CompiledFlag>;
  readonly #segmentUnits: ReadonlyMap<string, CompiledSegment>;
  readonly #flags = new Map<string, number>();
  readonly #segments = new Map<string, number>();

  /** Only flags that others require and segments that are looked into have to be found by key. */
  constructor(flags: readonly CompiledFlag[], segments: readonly CompiledSegment[]) {
    const hasPrerequisites = flags.some((flag) => flag.prerequisites.length > 0);
    this.#flagUnits = new Map(hasPrerequisites ? flags.map((flag) => [flag.definition.key, flag]) : []);
    this.#segmentUnits = new Map(segments.map((segment) => [segment.definition.key, segment]));
  }

  costOf(flag: CompiledFlag): number {
    const own = Math.min(this.#ownCost(flag.cost), FLAG_FUEL);
    return flag.prerequisites.length === 0 ? own : this.#withPrerequisites(flag, own);
  }

  #withPrerequisites(flag: CompiledFlag, own: number): number {
    const { key } = flag.definition;
    const known = this.#flags.get(key);
    if (known !== undefined) return known;
    // Stands in while the flag is being visited; checked flag sets have no cycles.
    this.#flags.set(key, COST_MAX);
    let total = own;
    for (const prerequisite of flag.prerequisites) {
      const required = this.#flagUnits.get(prerequisite.flag);
      total += PREREQUISITE_FUEL + (required === undefined ? 0 : this.costOf(required));
    }
    const cost = Math.min(total, COST_MAX);
    this.#flags.set(key, cost);
    return cost;
  }

  #ownCost(cost: Cost): number {
    let total = cost.fixed;
    for (const segment of cost.segments) total += this.#segmentCost(segment);
    return total;
  }

  #segmentCost(key: string): number {
    const known = this.#segments.get(key);
    if (known !== undefined) return known;
    this.#segments.set(key, COST_MAX);
    const unit = this.#segmentUnits.get(key);
    const cost = unit === undefined ? 0 : Math.min(this.#ownCost(unit.cost), COST_MAX);
    this.#segments.set(key, cost);
    return cost;
  }
}
