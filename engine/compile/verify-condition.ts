import { LIMITS, ROLLOUT_WEIGHT_TOTAL } from '@guidon/protocol';
import { type ByteReader, check, checkHashTable } from './byte-reader.js';
import {
  CIDR,
  HASH_PREFIX,
  hashWords,
  IN,
  NEVER,
  NODE,
  NODE_BIT,
  NODE_TEXT_BYTES_MAX,
  OP,
  OP_ONE_LAST,
  ROLLOUT,
  ROLLOUT_BIT,
  SEMVER,
  SHORT_PAIR,
  SHORT_PAIRS_MAX,
  STRING_ENTRY,
  STRING_SET,
  TEXT,
  WEIGHT,
} from './layout.js';

/** How many references the block at hand may name. */
export interface ReferenceCounts {
  readonly slots: number;
  readonly segments: number;
  readonly patterns: number;
}

/** A condition: every jump goes forward and every operand lies in the block. */
export function verifyCondition(
  reader: ByteReader,
  condition: { nodes: number; nodeCount: number; entry: number },
  counts: ReferenceCounts,
): void {
  const { nodes, nodeCount, entry } = condition;
  check(nodeCount <= LIMITS.conditionNodesPerRule, 'a condition has too many clauses');
  check(entry >= NEVER || entry < nodeCount, 'a condition starts outside of its clauses');
  reader.claim(nodes, nodeCount, NODE.bytes, 'a condition');
  for (let index = 0; index < nodeCount; index += 1) {
    const node = nodes + index * NODE.bytes;
    for (const field of [NODE.onMatch, NODE.onMismatch]) {
      const label = reader.u16(node + field);
      check(label >= NEVER || (label > index && label < nodeCount), 'a jump does not go forward');
    }
    verifyClause(reader, node, counts);
  }
}

function verifyClause(reader: ByteReader, node: number, counts: ReferenceCounts): void {
  const op = reader.u8(node + NODE.op);
  const bits = reader.u8(node + NODE.bits);
  const count = reader.u32(node + NODE.count);
  const operand = reader.u32(node + NODE.operand);
  check(op >= OP.inText && op <= OP.segment, 'an operator is unknown');
  check(bits <= (NODE_BIT.negate | NODE_BIT.now | NODE_BIT.kinds), 'a clause has unknown bits');
  const isAttribute = op !== OP.segment && (bits & (NODE_BIT.now | NODE_BIT.kinds)) === 0;
  const slot = reader.u32(node + NODE.slot);
  check(isAttribute ? slot < counts.slots : slot === 0, 'a clause names no slot');
  if (op <= OP_ONE_LAST) {
    check(isAttribute, 'a clause with one value does not read an attribute');
    verifyOneValue(reader, node, op, operand);
  } else if (op === OP.in) verifyIn(reader, operand);
  else if (op <= OP.containsIgnoreCase) verifyTexts(reader, operand, count);
  else if (op === OP.matches)
    check(reader.u32(node + NODE.argument) + count <= counts.patterns, 'a pattern is not there');
  else if (op <= OP.instant) reader.claim(operand, count, 8, 'a list of numbers');
  else if (op === OP.semver) verifySemvers(reader, operand, count);
  else if (op === OP.cidr) verifyCidrs(reader, operand, count);
  else if (op === OP.segment) verifySegmentRefs(reader, operand, count, counts.segments);
}

/** What the node itself holds may be anything: only its size, and what lies elsewhere, lead somewhere. */
function verifyOneValue(reader: ByteReader, node: number, op: number, operand: number): void {
  const size = reader.u8(node + NODE.size);
  if (op === OP.inShort) {
    check(size <= SHORT_PAIRS_MAX, 'a list of short strings is long');
    reader.claim(operand, size, SHORT_PAIR.bytes, 'a list of short strings');
  } else if (op === OP.semverOne) verifySemvers(reader, operand, 1);
  else check(size <= NODE_TEXT_BYTES_MAX, 'a string does not fit into its clause');
}

function verifyIn(reader: ByteReader, operand: number): void {
  reader.claim(operand, 1, IN.bytes, 'an operand');
  const strings = reader.u32(operand + IN.strings);
  if (strings !== 0) verifyStringSet(reader, strings);
  reader.claim(reader.u32(operand + IN.numbers), reader.u32(operand + IN.numberCount), 8, 'a list of numbers');
}

/** A STRING_SET: entries inside the block, a table that ends a search. */
export function verifyStringSet(reader: ByteReader, set: number): void {
  reader.claim(set, 1, STRING_SET.bytes, 'a set of strings');
  const count = reader.u32(set + STRING_SET.count);
  const tableCount = reader.u32(set + STRING_SET.tableCount);
  if (tableCount !== 0) checkHashTable(reader, set + STRING_SET.table, tableCount, count);
  const hashes = set + STRING_SET.table + tableCount * 4;
  reader.claim(hashes, hashWords(count), 4, 'a set of strings');
  const entries = hashes + hashWords(count) * 4;
  reader.claim(entries, count, STRING_ENTRY.bytes, 'a set of strings');
  for (let entry = entries; entry < entries + count * STRING_ENTRY.bytes; entry += STRING_ENTRY.bytes) {
    reader.claim(reader.u32(entry + STRING_ENTRY.offset), reader.u32(entry + STRING_ENTRY.length), 1, 'a string');
  }
}

function verifyTexts(reader: ByteReader, table: number, count: number): void {
  reader.claim(table, count, TEXT.bytes, 'a list of strings');
  for (let record = table; record < table + count * TEXT.bytes; record += TEXT.bytes) {
    const length = reader.u32(record + TEXT.length);
    const failure = reader.u32(record + TEXT.failure);
    reader.claim(reader.u32(record + TEXT.offset), length, 1, 'a string');
    if (failure === 0) continue;
    check(length > 0, 'an empty string has a failure function');
    reader.claim(failure, length, 4, 'a failure function');
    // Each step back is a real one, so the search ends.
    for (let index = 0; index < length; index += 1) {
      check(reader.u32(failure + index * 4) <= index, 'a failure function does not go back');
    }
  }
}

function verifySemvers(reader: ByteReader, table: number, count: number): void {
  reader.claim(table, count, SEMVER.bytes, 'a list of versions');
  for (let record = table; record < table + count * SEMVER.bytes; record += SEMVER.bytes) {
    for (let field = SEMVER.major as number; field < SEMVER.bytes; field += 8) {
      reader.claim(reader.u32(record + field), reader.u32(record + field + 4), 1, 'a version');
    }
  }
}

function verifyCidrs(reader: ByteReader, table: number, count: number): void {
  reader.claim(table, count, CIDR.bytes, 'a list of address blocks');
  for (let record = table; record < table + count * CIDR.bytes; record += CIDR.bytes) {
    check(reader.u16(record + CIDR.prefixBits) <= 128, 'an address block is too long');
  }
}

function verifySegmentRefs(reader: ByteReader, refs: number, count: number, segmentCount: number): void {
  reader.claim(refs, count, 4, 'a list of segments');
  for (let at = refs; at < refs + count * 4; at += 4) {
    check(reader.u32(at) < segmentCount, 'a clause names no segment');
  }
}

/** A ROLLOUT of a flag (its sums end at the total, so every bucket finds a variation) or of a segment rule (one weight). */
export function verifyRollout(
  reader: ByteReader,
  rollout: number,
  counts: ReferenceCounts,
  variationCount: number,
): void {
  reader.claim(rollout, 1, ROLLOUT.bytes, 'a rollout');
  check(reader.u32(rollout + ROLLOUT.slot) < counts.slots, 'a rollout names no slot');
  for (const prefix of [ROLLOUT.salt, ROLLOUT.layerSalt]) {
    check(reader.u32(rollout + prefix + HASH_PREFIX.tailBytes) <= 3, 'a hashed prefix is not cut at whole words');
  }
  const bits = reader.u32(rollout + ROLLOUT.bits);
  check(bits <= (ROLLOUT_BIT.targetingKey | ROLLOUT_BIT.layer | ROLLOUT_BIT.experiment), 'a rollout has unknown bits');
  const weightCount = reader.u32(rollout + ROLLOUT.weightCount);
  check(weightCount >= 1 && weightCount <= LIMITS.rolloutWeights, 'a rollout has no or too many weights');
  reader.claim(rollout + ROLLOUT.weights, weightCount, WEIGHT.bytes, 'the weights of a rollout');
  if (variationCount === 0) return;
  for (let index = 0; index < weightCount; index += 1) {
    const weight = rollout + ROLLOUT.weights + index * WEIGHT.bytes;
    check(reader.u32(weight + WEIGHT.variation) < variationCount, 'a rollout serves no variation');
  }
  const last = rollout + ROLLOUT.weights + (weightCount - 1) * WEIGHT.bytes;
  check(reader.u32(last + WEIGHT.upTo) === ROLLOUT_WEIGHT_TOTAL, 'weights do not sum');
}
