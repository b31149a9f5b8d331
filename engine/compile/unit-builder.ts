import type { CompiledPattern } from '../evaluate/regex.js';
import type { ByteWriter } from './byte-writer.js';
import type { Cost } from './condition-cost.js';
import { FRAGMENT } from './layout.js';
import type { Slot, SlotInterner } from './slot-table.js';

/**
 * What the compilers of one block share: its bytes so far and its local reference lists. A block names slots and segments by the
 * index in these lists; what they mean in an environment stands in the root. That keeps the block independent of everything else.
 */
export class UnitBuilder {
  readonly writer: ByteWriter;
  readonly interner: SlotInterner;
  readonly slots: Slot[] = [];
  readonly segments: string[] = [];
  readonly patterns: string[] = [];
  /** Epoch ms at which a clause on `@now` changes its answer. */
  readonly instants: number[] = [];
  readonly cost: Cost = { fixed: 0, segments: [] };

  constructor(writer: ByteWriter, interner: SlotInterner) {
    writer.reset();
    this.writer = writer;
    this.interner = interner;
  }

  slotRef(contextKind: string | undefined, path: readonly string[]): number {
    return indexOrPush(this.slots, this.interner.slotOf(contextKind ?? 'user', path));
  }

  segmentRef(key: string): number {
    return indexOrPush(this.segments, key);
  }

  /** Appends `texts` and a table of FRAGMENT for them; returns the table's offset, 0 for none. */
  textTable(texts: readonly string[]): number {
    if (texts.length === 0) return 0;
    const table = this.writer.reserve(texts.length * FRAGMENT.bytes);
    for (const [index, text] of texts.entries()) {
      const offset = this.writer.text(text);
      this.writer.u32(table + index * FRAGMENT.bytes + FRAGMENT.offset, offset);
      this.writer.u32(table + index * FRAGMENT.bytes + FRAGMENT.length, this.writer.length - offset);
    }
    return table;
  }
}

/** Patterns by text, compiled once per process run; a bounded cache owned by whoever compiles or loads. */
export type PatternFinder = (pattern: string) => CompiledPattern | undefined;

function indexOrPush<T>(list: T[], value: T): number {
  const index = list.indexOf(value);
  if (index >= 0) return index;
  list.push(value);
  return list.length - 1;
}
