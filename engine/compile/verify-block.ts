import { LIMITS } from '@guidon/protocol';
import { BadBytes, ByteReader, check, isPowerOfTwo } from './byte-reader.js';
import {
  FLAG,
  FLAG_BIT,
  FLAG_MAGIC,
  FRAGMENT,
  KEY_ENTRY,
  KEYS,
  KEYS_MAGIC,
  MEMBERS,
  RULE,
  SEGMENT,
  SEGMENT_BIT,
  SEGMENT_MAGIC,
  SEGMENT_RULE,
  TARGET,
} from './layout.js';
import { type ReferenceCounts, verifyCondition, verifyRollout, verifyStringSet } from './verify-condition.js';

/** What the root and the host have to know of a block that was accepted. */
export interface BlockSummary {
  readonly kind: 'flag' | 'segment' | 'keys';
  /** Its magic. */
  readonly magic: number;
  readonly slotRefCount: number;
  readonly segmentRefCount: number;
  readonly prerequisiteCount: number;
  /** Of a flag, else 0. */
  readonly variationCount: number;
  /** Well-formed text; whether each compiles is asked by whoever verifies the block, who may take turns over it. */
  readonly patterns: readonly string[];
}

/** Members of an answer that are copied without asking how much room is left beyond RESULT_OVERHEAD_MAX of the kernel. */
const SMALL_FRAGMENT_BYTES_MAX = 192;
const REFERENCE_COUNT_MAX = 1_000_000;
const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Checks everything in a block that the kernel relies on but its patterns: after this the kernel can neither read outside of it nor loop. Throws
 * BadBytes (or a RangeError of the reader) otherwise.
 */
export function verifyBlock(bytes: Uint8Array): BlockSummary {
  const reader = new ByteReader(bytes);
  check(bytes.length >= KEYS.bytes && bytes.length % 8 === 0, 'a block is cut');
  check(reader.u32(4) === bytes.length, 'a block does not have its length');
  const magic = reader.u32(0);
  if (magic === FLAG_MAGIC) return verifyFlag(reader);
  if (magic === SEGMENT_MAGIC) return verifySegment(reader);
  check(magic === KEYS_MAGIC, 'a block is of no known kind');
  return verifyKeys(reader);
}

function verifyFlag(reader: ByteReader): BlockSummary {
  reader.claim(0, 1, FLAG.bytes, 'the header');
  const variationCount = reader.u8(FLAG.variationCount);
  const bits = reader.u8(FLAG.bits);
  // One that is not served answers before anything of it is looked at.
  const isUnserved = (bits & FLAG_BIT.unserved) !== 0;
  check(variationCount <= LIMITS.variationsPerFlag, 'a flag has too many variations');
  check(bits < FLAG_BIT.static * 2, 'a flag has unknown bits');
  check(isUnserved || reader.u8(FLAG.offVariation) < variationCount, 'there is no off variation');
  reader.claim(reader.u32(FLAG.keyOffset), reader.u32(FLAG.keyBytes), 1, 'the key');
  const patterns = readPatterns(reader, FLAG.patterns, FLAG.patternCount);
  const counts = readCounts(reader, FLAG.slotRefCount, FLAG.segmentRefCount, patterns.length);
  verifyMembersTable(reader, reader.u32(FLAG.variations), variationCount, LIMITS.flagValueBytes * 2);
  const prerequisiteCount = reader.u32(FLAG.prerequisiteCount);
  check(prerequisiteCount <= LIMITS.prerequisitesPerFlag, 'a flag has too many prerequisites');
  verifyMembersTable(reader, reader.u32(FLAG.prerequisites), prerequisiteCount, SMALL_FRAGMENT_BYTES_MAX);
  verifyTargets(reader, counts, variationCount);
  verifyRules(reader, counts, variationCount);
  if (!isUnserved) verifyServe(reader, FLAG.fallthroughRollout, FLAG.fallthroughVariation, counts, variationCount);
  const { slots, segments } = counts;
  return {
    kind: 'flag',
    magic: FLAG_MAGIC,
    slotRefCount: slots,
    segmentRefCount: segments,
    prerequisiteCount,
    variationCount,
    patterns,
  };
}

function readCounts(reader: ByteReader, slots: number, segments: number, patterns: number): ReferenceCounts {
  const counts = { slots: reader.u32(slots), segments: reader.u32(segments), patterns };
  check(counts.slots <= REFERENCE_COUNT_MAX && counts.segments <= REFERENCE_COUNT_MAX, 'too many references');
  return counts;
}

function readPatterns(reader: ByteReader, tableField: number, countField: number): string[] {
  const table = reader.u32(tableField);
  const count = reader.u32(countField);
  reader.claim(table, count, FRAGMENT.bytes, 'the patterns');
  const patterns: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const offset = reader.u32(table + index * FRAGMENT.bytes + FRAGMENT.offset);
    const length = reader.u32(table + index * FRAGMENT.bytes + FRAGMENT.length);
    reader.claim(offset, length, 1, 'a pattern');
    patterns.push(decodeText(reader.bytes.subarray(offset, offset + length)));
  }
  return patterns;
}

function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new BadBytes('a pattern is no UTF-8', { cause });
  }
}

function verifyMembersTable(reader: ByteReader, table: number, count: number, lengthMax: number): void {
  reader.claim(table, count, MEMBERS.bytes, 'a table of members');
  for (let index = 0; index < count; index += 1) verifyMembers(reader, table + index * MEMBERS.bytes, lengthMax);
}

function verifyMembers(reader: ByteReader, record: number, lengthMax: number): void {
  verifyFragment(reader, record + MEMBERS.msgpack, lengthMax);
  verifyFragment(reader, record + MEMBERS.json, lengthMax);
}

function verifyFragment(reader: ByteReader, fragment: number, lengthMax: number): void {
  const length = reader.u32(fragment + FRAGMENT.length);
  check(length <= lengthMax, 'a fragment is too long');
  reader.claim(reader.u32(fragment + FRAGMENT.offset), length, 1, 'a fragment');
}

function verifyTargets(reader: ByteReader, counts: ReferenceCounts, variationCount: number): void {
  const table = reader.u32(FLAG.targets);
  const count = reader.u32(FLAG.targetCount);
  reader.claim(table, count, TARGET.bytes, 'the targets');
  for (let record = table; record < table + count * TARGET.bytes; record += TARGET.bytes) {
    check(reader.u32(record + TARGET.targetingKey) < counts.slots, 'a target names no slot');
    check(reader.u32(record + TARGET.variation) < variationCount, 'a target serves no variation');
    verifyStringSet(reader, reader.u32(record + TARGET.keys));
  }
}

function verifyRules(reader: ByteReader, counts: ReferenceCounts, variationCount: number): void {
  const table = reader.u32(FLAG.rules);
  const count = reader.u32(FLAG.ruleCount);
  // Offset 0 stands for "no rule" in the kernel's memo.
  check(count === 0 || table >= FLAG.bytes, 'the rules lie in the header');
  reader.claim(table, count, RULE.bytes, 'the rules');
  for (let record = table; record < table + count * RULE.bytes; record += RULE.bytes) {
    const nodes = reader.u32(record + RULE.nodes);
    const nodeCount = reader.u16(record + RULE.nodeCount);
    verifyCondition(reader, { nodes, nodeCount, entry: reader.u16(record + RULE.entry) }, counts);
    verifyServe(reader, record + RULE.rollout, record + RULE.variation, counts, variationCount);
    verifyMembers(reader, record + RULE.id, SMALL_FRAGMENT_BYTES_MAX);
  }
}

function verifyServe(
  reader: ByteReader,
  rolloutField: number,
  variationField: number,
  counts: ReferenceCounts,
  variationCount: number,
): void {
  const rollout = reader.u32(rolloutField);
  if (rollout !== 0) verifyRollout(reader, rollout, counts, variationCount);
  check(reader.u32(variationField) < variationCount, 'a variation is not there');
}

function verifySegment(reader: ByteReader): BlockSummary {
  reader.claim(0, 1, SEGMENT.bytes, 'the header');
  check(reader.u32(SEGMENT.bits) <= SEGMENT_BIT.unserved, 'a segment has unknown bits');
  const patterns = readPatterns(reader, SEGMENT.patterns, SEGMENT.patternCount);
  const counts = readCounts(reader, SEGMENT.slotRefCount, SEGMENT.segmentRefCount, patterns.length);
  const table = reader.u32(SEGMENT.rules);
  const count = reader.u32(SEGMENT.ruleCount);
  reader.claim(table, count, SEGMENT_RULE.bytes, 'the rules');
  for (let record = table; record < table + count * SEGMENT_RULE.bytes; record += SEGMENT_RULE.bytes) {
    const nodes = reader.u32(record + SEGMENT_RULE.nodes);
    const nodeCount = reader.u16(record + SEGMENT_RULE.nodeCount);
    verifyCondition(reader, { nodes, nodeCount, entry: reader.u16(record + SEGMENT_RULE.entry) }, counts);
    const rollout = reader.u32(record + SEGMENT_RULE.rollout);
    if (rollout !== 0) verifyRollout(reader, rollout, counts, 0);
  }
  const { slots, segments } = counts;
  const magic = SEGMENT_MAGIC;
  return {
    kind: 'segment',
    magic,
    slotRefCount: slots,
    segmentRefCount: segments,
    prerequisiteCount: 0,
    variationCount: 0,
    patterns,
  };
}

function verifyKeys(reader: ByteReader): BlockSummary {
  const tableCount = reader.u32(KEYS.tableCount);
  check(isPowerOfTwo(tableCount), 'the size of a key table is no power of two');
  reader.claim(0, 1, KEYS.bytes, 'the header');
  reader.claim(KEYS.table, tableCount, KEY_ENTRY.bytes, 'the key table');
  let emptyCount = 0;
  for (let index = 0; index < tableCount; index += 1) {
    const offset = reader.u32(KEYS.table + index * KEY_ENTRY.bytes + KEY_ENTRY.offset);
    if (offset === 0) emptyCount += 1;
    else reader.claim(offset, 2 + reader.u16(offset), 1, 'a key');
  }
  check(emptyCount > 0, 'a key table is full');
  check(tableCount - emptyCount === reader.u32(KEYS.keyCount), 'the number of keys is wrong');
  return {
    kind: 'keys',
    magic: KEYS_MAGIC,
    slotRefCount: 0,
    segmentRefCount: 0,
    prerequisiteCount: 0,
    variationCount: 0,
    patterns: [],
  };
}
