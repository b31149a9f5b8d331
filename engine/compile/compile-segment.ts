import { isServable, type SegmentDefinition, type SegmentKeysDefinition } from '../flag-model/definitions.js';
import type { ByteWriter } from './byte-writer.js';
import { compileCondition } from './compile-condition.js';
import { powerOfTwoAbove } from './compile-operand.js';
import { compileSegmentRollout } from './compile-rollout.js';
import { type CompiledUnit, finishUnit, referencesOf } from './compiled-unit.js';
import { KEY_ENTRY, KEYS, KEYS_MAGIC, SEGMENT, SEGMENT_BIT, SEGMENT_MAGIC, SEGMENT_RULE } from './layout.js';
import type { UnitBuilder } from './unit-builder.js';

export interface CompiledSegment extends CompiledUnit {
  readonly definition: SegmentDefinition;
}

/** Compiles the rules of one segment, none if they require what this evaluator lacks; its key lists are blocks of their own. */
export function compileSegment(builder: UnitBuilder, definition: SegmentDefinition): CompiledSegment {
  const { writer } = builder;
  const segment = writer.reserve(SEGMENT.bytes);
  const isServed = isServable(definition);
  const rules = isServed ? definition.rules : [];
  writer.u32(segment + SEGMENT.magic, SEGMENT_MAGIC);
  writer.u32(segment + SEGMENT.bits, isServed ? 0 : SEGMENT_BIT.unserved);
  const table = rules.length === 0 ? 0 : writer.reserve(rules.length * SEGMENT_RULE.bytes);
  for (const [index, rule] of rules.entries()) {
    const record = table + index * SEGMENT_RULE.bytes;
    const condition = compileCondition(builder, rule.when);
    writer.u32(record + SEGMENT_RULE.nodes, condition.nodes);
    writer.u16(record + SEGMENT_RULE.nodeCount, condition.nodeCount);
    writer.u16(record + SEGMENT_RULE.entry, condition.entry);
    if (rule.rollout !== undefined) {
      writer.u32(record + SEGMENT_RULE.rollout, compileSegmentRollout(builder, rule.rollout, definition.salt));
    }
  }
  writer.u32(segment + SEGMENT.rules, table);
  writer.u32(segment + SEGMENT.ruleCount, rules.length);
  writer.u32(segment + SEGMENT.patternCount, builder.patterns.length);
  writer.u32(segment + SEGMENT.patterns, builder.textTable(builder.patterns));
  writer.u32(segment + SEGMENT.slotRefCount, builder.slots.length);
  writer.u32(segment + SEGMENT.segmentRefCount, builder.segments.length);
  return { ...finishUnit(writer, segment + SEGMENT.totalBytes, referencesOf(builder)), definition };
}

export interface CompiledSegmentKeys extends CompiledUnit {
  readonly definition: SegmentKeysDefinition;
}

/** Compiles one chunk of a key list to a hash table. */
export function compileSegmentKeys(writer: ByteWriter, definition: SegmentKeysDefinition): CompiledSegmentKeys {
  writer.reset();
  const { keys } = definition;
  const tableCount = powerOfTwoAbove(keys.length * 1.5);
  const header = writer.reserve(KEYS.bytes + tableCount * KEY_ENTRY.bytes);
  writer.u32(header + KEYS.magic, KEYS_MAGIC);
  writer.u32(header + KEYS.keyCount, keys.length);
  writer.u32(header + KEYS.tableCount, tableCount);
  const table = new Uint32Array(tableCount * 2);
  const mask = tableCount - 1;
  for (const key of keys) {
    const offset = writer.reserve(2, 1);
    writer.text(key);
    writer.u16(offset, writer.length - offset - 2);
    const hash = writer.murmur3From(offset + 2);
    let at = hash & mask;
    while (table[at * 2 + 1] !== 0) at = (at + 1) & mask;
    table[at * 2] = hash;
    table[at * 2 + 1] = offset;
  }
  writer.set(header + KEYS.table, new Uint8Array(table.buffer));
  return { ...finishUnit(writer, header + KEYS.totalBytes, {}), definition };
}
