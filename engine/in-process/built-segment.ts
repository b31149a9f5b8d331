import { LIMITS } from '@guidon/protocol';
import { EvaluationStop } from '../evaluate/flag-run.js';
import { hasSorted } from '../evaluate/segment-index.js';
import { isServable, type SegmentDefinition, type SegmentKeysDefinition } from '../flag-model/definitions.js';
import type { AttributeSlot } from './attribute-slot.js';
import { buildSegmentRollout } from './build-rollout.js';
import type { Builder } from './builder.js';
import { type Entry, follow, linkCondition } from './condition.js';
import type { BuiltSegment, Run } from './run.js';

/** The part of a segment that belongs to its definition alone and so outlives a revision. */
export class SegmentRules {
  readonly isServable: boolean;
  readonly #rules: readonly {
    readonly when: Entry<boolean>;
    readonly lets: ((run: Run) => boolean) | undefined;
  }[];

  constructor(
    readonly definition: SegmentDefinition,
    builder: Builder,
  ) {
    this.isServable = isServable(definition);
    this.#rules = definition.rules.map(({ when, rollout }) => ({
      when: linkCondition<boolean>(when, true, false, builder),
      lets: rollout && buildSegmentRollout(rollout, definition.salt, builder),
    }));
  }

  letIn(run: Run): boolean {
    for (const { when, lets } of this.#rules) if (follow(when, run) && (lets === undefined || lets(run))) return true;
    return false;
  }
}

/** Included wins over excluded, both over rules. */
export class SegmentOfRevision implements BuiltSegment {
  readonly rules: SegmentRules;
  readonly included = new KeyLists();
  readonly excluded = new KeyLists();

  constructor(rules: SegmentRules) {
    this.rules = rules;
  }

  holds(run: Run): boolean {
    if (run.segmentDepth > LIMITS.referenceDepth) throw new EvaluationStop('PARSE_ERROR', 'depth');
    if (!this.rules.isServable) throw new EvaluationStop('PARSE_ERROR', 'requires');
    if (this.included.holds(run)) return true;
    if (this.excluded.holds(run)) return false;
    run.segmentDepth += 1; // a stop leaves it raised: it ends the flag, and the next one starts from 0
    const isIn = this.rules.letIn(run);
    run.segmentDepth -= 1;
    return isIn;
  }
}

/** The chunks of one kind whose prefixes have one length. */
interface Level {
  readonly slot: AttributeSlot;
  readonly prefixBits: number;
  /** Sorted keys by the number that the prefix's bits are. */
  readonly chunks: Map<number, readonly string[]>;
}

/** The included or the excluded keys of one segment. */
class KeyLists {
  readonly #levels: Level[] = [];

  add({ contextKind, prefix, keys }: SegmentKeysDefinition, builder: Builder): void {
    const slot = builder.slotOf(contextKind, 'targetingKey');
    let level = this.#levels.find((known) => known.slot === slot && known.prefixBits === prefix.length);
    if (level === undefined) {
      level = { slot, prefixBits: prefix.length, chunks: new Map() };
      this.#levels.push(level);
    }
    level.chunks.set(Number.parseInt(`0${prefix}`, 2), keys);
  }

  /** An integer targeting key equals none of the entries. */
  holds(run: Run): boolean {
    for (const { slot, prefixBits, chunks } of this.#levels) {
      const subject = slot.read(run);
      const { value } = subject;
      if (typeof value !== 'string') continue;
      const keys = chunks.get(prefixBits === 0 ? 0 : subject.textHashOf(value) >>> (32 - prefixBits));
      if (keys !== undefined && hasSorted(keys, value)) return true;
    }
    return false;
  }
}
