import {
  type CompiledEnvironment,
  type Definition,
  definitionKey,
  type FlagDefinition,
  hashTableOf,
  type SegmentDefinition,
  type SegmentKeysDefinition,
  segmentReferencesOf,
} from '@guidon/engine';
import { LIMITS, PlatformError } from '@guidon/protocol';
import type { DigestTree } from '@guidon/protocol/signed-config';
import { applyChange } from './apply-change.js';
import { FlagSetDraft, type WorkerState } from './worker-state.js';

type CompiledFlag = CompiledEnvironment['units']['flags'][number];
type Slot = CompiledFlag['slots'][number];

/** A flag that is new, or took the place of another one with its key. */
export interface ReplacedFlag {
  readonly flag: FlagDefinition;
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
  readonly unit: CompiledFlag;
}

/** Changes that can be taken back, newest last; the one before the newest is what a refused or a dry run leaves. */
const STEPS_MAX = 64;
/** Definitions that are tried by themselves; a change that reaches further is tried in the whole. */
export const NEIGHBOURS_MAX = 200;

interface Step {
  readonly digestBefore: string;
  readonly flags: readonly {
    readonly key: string;
    readonly before: ReplacedFlag | undefined;
    /** In force before; undefined = the flag was not there. */
    readonly hash: Uint8Array | undefined;
  }[];
}

/**
 * One environment as the last changes that passed left it: a state that was compiled as a whole (`anchor`) and the flags put since. Mutable, so
 * that a change costs what it reaches. The tables of the root are made of names: those of places in a context stay what the anchor's compile found
 * them to be, and with a new flag the table of flags is made to see whether it can be.
 */
export class TrialLine {
  readonly anchor: WorkerState;
  readonly #compiled: CompiledEnvironment;
  readonly #replaced = new Map<string, ReplacedFlag>();
  readonly #tree: DigestTree;
  readonly #steps: Step[] = [];
  readonly #units: Map<string, CompiledFlag>;
  /** Flags by the flag that they have as a prerequisite. */
  readonly #dependents = new Map<string, Set<string>>();
  readonly #chunks = new Map<string, SegmentKeysDefinition[]>();
  /** How many units ask for a place of a context. */
  readonly #slotCounts = new Map<Slot, number>();
  #digest: string;
  #snapshotBytes: number;

  constructor(anchor: WorkerState, compiled: CompiledEnvironment) {
    this.anchor = anchor;
    this.#compiled = compiled;
    this.#tree = anchor.tree.clone();
    this.#digest = anchor.digest;
    const { flags, segments } = compiled.units;
    this.#units = new Map(flags.map((unit) => [unit.definition.key, unit]));
    for (const unit of flags) this.#countFlag(unit, 1);
    for (const unit of segments) this.#countSlots(placesOf(unit), 1);
    // What the root asks for by itself.
    this.#countSlots([compiled.units.interner.kind('user')], 1);
    for (const chunk of anchor.flagSet.segmentKeys.values()) {
      const chunks = this.#chunks.get(chunk.segment) ?? [];
      this.#chunks.set(chunk.segment, chunks);
      chunks.push(chunk);
      const keys = compiled.units.interner.slotOf(chunk.contextKind, ['targetingKey']);
      this.#countSlots(placesOf({ slots: [keys] }), 1);
    }
    this.#snapshotBytes = compiled.snapshot.root.length;
    for (const block of compiled.snapshot.blocks.values()) this.#snapshotBytes += block.length;
  }

  get digest(): string {
    return this.#digest;
  }

  get replacedCount(): number {
    return this.#replaced.size;
  }

  /** About what a whole snapshot would have. */
  get snapshotBytes(): number {
    return this.#snapshotBytes;
  }

  get interner(): CompiledEnvironment['units']['interner'] {
    return this.#compiled.units.interner;
  }

  findFlag(key: string): FlagDefinition | undefined {
    return this.#replaced.get(key)?.flag ?? this.anchor.flagSet.flags.get(key);
  }

  /** The anchor with the flags put since, none of which its `compiled` has. */
  current(): WorkerState {
    if (this.#replaced.size === 0) return this.anchor;
    const applied = applyChange(
      this.anchor,
      [...this.#replaced.values()].map(({ bytes }) => bytes),
      [],
    );
    if ('issues' in applied) throw new Error('flags that passed do not parse');
    return { ...applied.state, compiled: this.#compiled };
  }

  /** Takes changes back until `digest` is in force. False when that is further back than is remembered. */
  rewindTo(digest: string): boolean {
    if (digest !== this.#digest && !this.#steps.some(({ digestBefore }) => digestBefore === digest)) return false;
    while (this.#digest !== digest) this.#undo();
    return true;
  }

  /**
   * `flags` with everything that they name and everything that has them as a prerequisite, however far: what a change of them can change
   * the meaning of. Undefined when that is too much to be cheaper than the whole.
   */
  neighboursOf(flags: readonly FlagDefinition[]): FlagSetDraft | undefined {
    const neighbours = new FlagSetDraft();
    const waiting: Definition[] = [...flags];
    for (const flag of this.#dependentsOf(flags)) waiting.push(flag);
    let count = 0;
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      count += 1;
      if (count + waiting.length > NEIGHBOURS_MAX) return undefined;
      if (next.kind === 'segment-keys') neighbours.set(definitionKey(next), next);
      else if (neighbours[next.kind === 'flag' ? 'flags' : 'segments'].get(next.key) !== undefined) count -= 1;
      else {
        neighbours.set(next.key, next);
        waiting.push(...this.#namedBy(next, neighbours, flags));
      }
    }
    return neighbours;
  }

  /** Puts the flags in force. False, and nothing done, when the names in the root's tables would be others, or too many. */
  replace(flags: readonly ReplacedFlag[]): boolean {
    const touched = new Map<Slot, boolean>();
    for (const { unit } of flags) {
      for (const slot of [...placesOf(this.#unitOf(unit.definition.key)), ...placesOf(unit)]) {
        touched.set(slot, (this.#slotCounts.get(slot) ?? 0) > 0);
      }
    }
    const steps = flags.map(({ flag: { key } }) => ({
      key,
      before: this.#replaced.get(key),
      hash: this.#tree.find('flag', key),
    }));
    const isLarger = steps.some(({ hash }) => hash === undefined);
    this.#steps.push({ digestBefore: this.#digest, flags: steps });
    for (const replaced of flags) this.#put(replaced.flag.key, replaced, replaced.hash);
    this.#digest = this.#tree.digest();
    if (this.#steps.length > STEPS_MAX) this.#steps.shift();
    const isSame = [...touched].every(([slot, wasAsked]) => (this.#slotCounts.get(slot) ?? 0) > 0 === wasAsked);
    if (isSame && (!isLarger || this.#hasRoomForFlags())) return true;
    this.#undo();
    return false;
  }

  #hasRoomForFlags(): boolean {
    const hashes = new Map<string, number>();
    for (const [key, { keyHash }] of this.#units) hashes.set(key, keyHash);
    for (const [key, { unit }] of this.#replaced) hashes.set(key, unit.keyHash);
    if (hashes.size > LIMITS.flagsPerEnvironment) return false;
    try {
      hashTableOf([...hashes.values()].map((hash, index) => ({ hash, index })));
      return true;
    } catch (error) {
      if (error instanceof PlatformError) return false;
      throw error;
    }
  }

  #undo(): void {
    const step = this.#steps.pop();
    if (step === undefined) throw new Error('there is no change to take back');
    for (const { key, before, hash } of step.flags.toReversed()) this.#put(key, before, hash);
    this.#digest = step.digestBefore;
    this.#tree.digest();
  }

  #put(key: string, replaced: ReplacedFlag | undefined, hash: Uint8Array | undefined): void {
    const before = this.#unitOf(key);
    if (replaced === undefined) this.#replaced.delete(key);
    else this.#replaced.set(key, replaced);
    const after = this.#unitOf(key);
    if (before !== undefined) this.#countFlag(before, -1);
    if (after !== undefined) this.#countFlag(after, 1);
    this.#snapshotBytes += (after?.block.length ?? 0) - (before?.block.length ?? 0);
    if (hash === undefined) this.#tree.delete('flag', key);
    else this.#tree.set('flag', key, hash);
  }

  #unitOf(key: string): CompiledFlag | undefined {
    return this.#replaced.get(key)?.unit ?? this.#units.get(key);
  }

  #countFlag(unit: CompiledFlag, by: 1 | -1): void {
    this.#countSlots(placesOf(unit), by);
    for (const { flag } of unit.definition.prerequisites) {
      const dependents = this.#dependents.get(flag) ?? new Set();
      this.#dependents.set(flag, dependents);
      if (by === 1) dependents.add(unit.definition.key);
      else dependents.delete(unit.definition.key);
    }
  }

  #countSlots(slots: Iterable<Slot>, by: number): void {
    for (const slot of slots) this.#slotCounts.set(slot, (this.#slotCounts.get(slot) ?? 0) + by);
  }

  /** Flags whose prerequisites lead to one of `flags`. */
  #dependentsOf(flags: readonly FlagDefinition[]): FlagDefinition[] {
    const found = new Map<string, FlagDefinition>();
    const waiting = flags.map(({ key }) => key);
    const own = new Set(waiting);
    for (let key = waiting.pop(); key !== undefined && found.size <= NEIGHBOURS_MAX; key = waiting.pop()) {
      for (const dependent of this.#dependents.get(key) ?? []) {
        const flag = this.findFlag(dependent);
        if (flag === undefined || own.has(dependent) || found.has(dependent)) continue;
        found.set(dependent, flag);
        waiting.push(dependent);
      }
    }
    return [...found.values()];
  }

  #namedBy(
    definition: FlagDefinition | SegmentDefinition,
    { flags, segments }: FlagSetDraft,
    changed: readonly FlagDefinition[],
  ): Definition[] {
    const named: Definition[] = [];
    for (const { segment } of segmentReferencesOf(definition)) {
      const found = segments.has(segment) ? undefined : this.anchor.flagSet.segments.get(segment);
      if (found !== undefined) named.push(found, ...(this.#chunks.get(segment) ?? []));
    }
    if (definition.kind === 'segment') return named;
    for (const { flag } of definition.prerequisites) {
      const found = changed.find(({ key }) => key === flag) ?? this.findFlag(flag);
      if (found !== undefined && !flags.has(flag)) named.push(found);
    }
    return named;
  }
}

/** The places of a unit with those they lie in. */
function placesOf(unit: { readonly slots: readonly Slot[] } | undefined): Set<Slot> {
  const places = new Set<Slot>();
  for (const slot of unit?.slots ?? []) {
    for (let at: Slot | undefined = slot; at !== undefined && !places.has(at); at = at.parent) places.add(at);
  }
  return places;
}
