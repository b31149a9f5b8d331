import { PatternCache } from '../evaluate/regex.js';
import { AttributeSlot } from './attribute-slot.js';

/** Slots that a line of revisions may leave unused before everything is built anew. */
const UNUSED_SLOT_COUNT_MAX = 1_000;

/** What the built flags and segments of a line of revisions share. Only grows, so a fresh one is taken when it `isWornOut`. */
export class Builder {
  readonly patterns = new PatternCache();
  readonly #slots = new Map<string, AttributeSlot>();
  /** Slots in use when all definitions had been built once. */
  #usedCount = Number.POSITIVE_INFINITY;

  get slotCount(): number {
    return this.#slots.size;
  }

  slotOf(contextKind: string, attribute: string): AttributeSlot {
    const name = JSON.stringify([contextKind, attribute]);
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = new AttributeSlot(contextKind, attribute);
      this.#slots.set(name, slot);
    }
    return slot;
  }

  /** Called when one whole revision has been built. */
  settle(): void {
    this.#usedCount = Math.min(this.#usedCount, this.#slots.size);
  }

  get isWornOut(): boolean {
    return this.#slots.size > 2 * this.#usedCount + UNUSED_SLOT_COUNT_MAX;
  }
}
