import { createHash } from 'node:crypto';
import type { ByteWriter } from './byte-writer.js';
import type { Slot } from './slot-table.js';
import type { UnitBuilder } from './unit-builder.js';

/** Lower-case hex of the SHA-256 of a block's bytes. */
export type BlockId = string;

/** One definition compiled: its block and what its local references mean outside of it. Immutable. */
export interface CompiledUnit {
  readonly block: Uint8Array;
  readonly id: BlockId;
  readonly idBytes: Uint8Array;
  readonly slots: readonly Slot[];
  readonly segments: readonly string[];
  readonly instants: readonly number[];
  /** Worst-case fuel of its own clauses; `segmentCost` of the segments they look into comes on top. */
  readonly cost: number;
}

/** Pads the block to whole words, records its length and takes its identity. */
export function finishUnit(writer: ByteWriter, totalBytesOffset: number, parts: Partial<CompiledUnit>): CompiledUnit {
  writer.reserve(0, 8);
  writer.u32(totalBytesOffset, writer.length);
  const block = writer.finish();
  const idBytes = createHash('sha256').update(block).digest();
  return { slots: [], segments: [], instants: [], cost: 0, ...parts, block, id: idBytes.toString('hex'), idBytes };
}

export function referencesOf(builder: UnitBuilder): Pick<CompiledUnit, 'slots' | 'segments' | 'instants'> {
  return { slots: builder.slots, segments: builder.segments, instants: builder.instants };
}
