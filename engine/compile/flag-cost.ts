import type { CompiledFlag } from './compile-flag.js';
import type { CompiledSegment } from './compile-segment.js';
import type { Cost } from './condition-cost.js';

/** Beyond this a cost says only "very much"; it also ends the walk over references that multiply. */
const COST_MAX = 0xffffffff;
/** Finding a flag, starting its evaluation and writing an answer of few bytes. */
const EVALUATION_COST = 8;
const PREREQUISITE_COST = 4;
/** Hashing the targeting key's kind and searching the chunks of one list. */
const LIST_COST = 4;
/** Bytes of an answer that are copied and sent for one unit. */
const ANSWER_BYTES_PER_UNIT = 32;

/**
 * Worst-case cost of asking each flag, with everything it makes the kernel evaluate (condition-cost.ts says in what units, and for which
 * contexts). One instance serves one compile; flags and segments are visited once.
 */
export class FlagCosts {
  readonly #flagUnits: ReadonlyMap<string, CompiledFlag>;
  readonly #segmentUnits: ReadonlyMap<string, CompiledSegment>;
  readonly #listCount: (segment: string) => number;
  readonly #flags = new Map<string, number>();
  readonly #segments = new Map<string, number>();

  /** Only flags that others require and segments that are looked into have to be found by key. */
  constructor(
    flags: readonly CompiledFlag[],
    segments: readonly CompiledSegment[],
    listCount: (segment: string) => number,
  ) {
    const hasPrerequisites = flags.some((flag) => flag.prerequisites.length > 0);
    this.#flagUnits = new Map(hasPrerequisites ? flags.map((flag) => [flag.definition.key, flag]) : []);
    this.#segmentUnits = new Map(segments.map((segment) => [segment.definition.key, segment]));
    this.#listCount = listCount;
  }

  costOf(flag: CompiledFlag): number {
    const answer = Math.ceil(flag.variationBytesMax / ANSWER_BYTES_PER_UNIT);
    return Math.min(this.#evaluationCost(flag) + answer, COST_MAX);
  }

  #evaluationCost(flag: CompiledFlag): number {
    const own = EVALUATION_COST + this.#ownCost(flag.cost);
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
      total += PREREQUISITE_COST + (required === undefined ? 0 : this.#evaluationCost(required));
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
    const lists = this.#listCount(key) * LIST_COST;
    const cost = unit === undefined ? lists : Math.min(lists + this.#ownCost(unit.cost), COST_MAX);
    this.#segments.set(key, cost);
    return cost;
  }
}
