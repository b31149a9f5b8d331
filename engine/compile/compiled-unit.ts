import { createHash } from 'node:crypto';
import type { ByteWriter } from './byte-writer.js';
import type { Cost } from './condition-cost.js';
import type { Slot } from './slot-table.js';
import type { UnitBuilder } from './unit-builder.js';

/** Lower-case hex of the SHA-256 of a block's bytes. */
export type BlockId = string;

/** One definition compiled: its block and what its local references mean outside of it. Immutable. */
export interface CompiledUnit {
  readonly block: Uint8Array;
  readonly id: BlockId;
  readonly magic: number;
  /** The id as it stands in the block table: eight little-endian words. */
  readonly idWords: Uint32Array;
  readonly slots: readonly Slot[];
  readonly segments: readonly string[];
  readonly instants: readonly number[];
  readonly cost: Cost;
}

const NO_REFERENCES = { slots: [], segments: [], instants: [], cost: { fixed: 0, segments: [] } };

/** Pads the block to whole words, records its length and takes its identity. */
export function finishUnit(writer: ByteWriter, totalBytesOffset: number, parts: Partial<CompiledUnit>): CompiledUnit {
  writer.reserve(0, 8);
  writer.u32(totalBytesOffset, writer.length);
  const block = writer.finish();
  const digest = createHash('sha256').update(block).digest();
  const idWords = Uint32Array.from({ length: 8 }, (_, index) => digest.readUInt32LE(index * 4));
  return { ...NO_REFERENCES, ...parts, block, magic: writer.readU32(0), id: digest.toString('hex'), idWords };
}

export function referencesOf(builder: UnitBuilder): Pick<CompiledUnit, 'slots' | 'segments' | 'instants' | 'cost'> {
  return { slots: builder.slots, segments: builder.segments, instants: builder.instants, cost: builder.cost };
}
