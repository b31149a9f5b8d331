import assert from 'node:assert/strict';
import { compareUtf8 } from '../flag-model/text.js';
import { SLOT_DEPTH_MAX, SLOT_TYPE } from './layout.js';
import { nameHash } from './name-hash.js';

/**
 * One place a context can hold a value: a kind, an attribute of a kind, or a step further in. Interned, so that equal places are one
 * object as long as one SlotInterner lives. `pass` and `index` are scratch of the compile that runs; nothing else may read them.
 */
export class Slot {
  readonly type: number;
  readonly depth: number;
  readonly nameBytes: Uint8Array;
  readonly nameHash: number;
  readonly #children = new Map<string, Slot>();
  pass = -1;
  index = -1;

  constructor(
    readonly parent: Slot | undefined,
    readonly name: string,
  ) {
    this.depth = parent === undefined ? 0 : parent.depth + 1;
    this.type = [SLOT_TYPE.kind, SLOT_TYPE.attribute][this.depth] ?? SLOT_TYPE.step;
    this.nameBytes = new TextEncoder().encode(name);
    this.nameHash = nameHash(this.nameBytes);
  }

  child(name: string): Slot {
    let slot = this.#children.get(name);
    if (slot === undefined) {
      slot = new Slot(this, name);
      this.#children.set(name, slot);
    }
    return slot;
  }
}

/** Kinds by name. Shared along a line of compiles; only grows, so a fresh one is taken when most of it is no longer used. */
export class SlotInterner {
  readonly #kinds = new Map<string, Slot>();

  kind(name: string): Slot {
    let slot = this.#kinds.get(name);
    if (slot === undefined) {
      slot = new Slot(undefined, name);
      this.#kinds.set(name, slot);
    }
    return slot;
  }

  /** The slot of a path below a kind. What lies deeper than any context may be is cut: it is missing either way. */
  slotOf(kindName: string, path: readonly string[]): Slot {
    assert(path.length > 0, 'a path has at least one name');
    let slot = this.kind(kindName);
    for (const name of path.slice(0, SLOT_DEPTH_MAX - 1)) slot = slot.child(name);
    return slot;
  }
}

let lastPass = 0;

/** Collects the slots of one compile and numbers them: parents first, then by name, whatever the order they were added in. */
export class SlotCollector {
  readonly #pass: number;
  readonly #levels: Slot[][] = [];

  constructor() {
    lastPass += 1;
    this.#pass = lastPass;
  }

  add(slot: Slot): void {
    for (let at: Slot | undefined = slot; at !== undefined && at.pass !== this.#pass; at = at.parent) {
      at.pass = this.#pass;
      let level = this.#levels[at.depth];
      if (level === undefined) {
        level = [];
        this.#levels[at.depth] = level;
      }
      level.push(at);
    }
  }

  /** All distinct slots in their final order, each with its `index` set. Two objects for one place get one index. */
  finish(): Slot[] {
    const ordered: Slot[] = [];
    for (let depth = 0; depth < SLOT_DEPTH_MAX + 1; depth += 1) {
      const level = (this.#levels[depth] ?? []).sort(compareSlots);
      let last: Slot | undefined;
      for (const slot of level) {
        if (last === undefined || compareSlots(last, slot) !== 0) {
          ordered.push(slot);
          last = slot;
        }
        slot.index = ordered.length - 1;
      }
    }
    return ordered;
  }
}

function compareSlots(a: Slot, b: Slot): number {
  return (a.parent?.index ?? 0) - (b.parent?.index ?? 0) || compareUtf8(a.name, b.name);
}
