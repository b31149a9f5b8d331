import { FLAG_FUEL } from '@guidon/protocol';
import { type FlagDefinition, type FlagSet, isServable } from '../flag-model/definitions.js';
import { conditionCost } from './condition-cost.js';

/** Beyond this a cost says only "very much"; it also ends the walk over references that multiply. */
const COST_MAX = 0xffffffff;
const PREREQUISITE_FUEL = 4;

/**
 * Worst-case cost of each flag with everything it makes the kernel evaluate, for attributes that are no arrays. One instance serves
 * one compile; flags and segments are visited once.
 */
export class FlagCosts {
  readonly #flagSet: FlagSet;
  readonly #flags = new Map<string, number>();
  readonly #segments = new Map<string, number>();

  constructor(flagSet: FlagSet) {
    this.#flagSet = flagSet;
  }

  costOf(flag: FlagDefinition): number {
    if (!isServable(flag)) return 0;
    const known = this.#flags.get(flag.key);
    if (known !== undefined) return known;
    // Stands in while the flag is being visited; checked flag sets have no cycles.
    this.#flags.set(flag.key, COST_MAX);
    let own = flag.targets.length;
    for (const rule of flag.rules) own += conditionCost(rule.when, this.#segmentCost);
    let total = Math.min(own, FLAG_FUEL);
    for (const prerequisite of flag.prerequisites) {
      const required = this.#flagSet.flags.get(prerequisite.flag);
      total += PREREQUISITE_FUEL + (required === undefined ? 0 : this.costOf(required));
    }
    const cost = Math.min(total, COST_MAX);
    this.#flags.set(flag.key, cost);
    return cost;
  }

  readonly #segmentCost = (key: string): number => {
    const known = this.#segments.get(key);
    if (known !== undefined) return known;
    this.#segments.set(key, COST_MAX);
    const segment = this.#flagSet.segments.get(key);
    const rules = segment !== undefined && isServable(segment) ? segment.rules : [];
    const cost = Math.min(
      rules.reduce((total, rule) => total + conditionCost(rule.when, this.#segmentCost), 0),
      COST_MAX,
    );
    this.#segments.set(key, cost);
    return cost;
  };
}
