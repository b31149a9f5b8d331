import { type EnvironmentRef, LIMITS } from '@guidon/protocol';
import { ByteReader, check, checkHashTable } from './byte-reader.js';
import { rootDigest } from './compile-root.js';
import { environmentTag } from './environment-tag.js';
import {
  BLOCK_ENTRY,
  CHUNK,
  FLAG_ENTRY,
  FLAG_MAGIC,
  KEYS_MAGIC,
  LAYOUT_HASH,
  LIST,
  NONE,
  PREREQUISITE_REF_WORDS,
  ROOT,
  ROOT_MAGIC,
  SEGMENT_ENTRY,
  SEGMENT_MAGIC,
  SLOT,
  SLOT_DEPTH_MAX,
  SLOT_TYPE,
  SNAPSHOT_FORMAT_VERSION,
} from './layout.js';
import { USAGE } from './thread-layout.js';
import type { BlockSummary } from './verify-block.js';

/** A root whose header, digest and own tables were accepted. */
export interface VerifiedRoot {
  readonly reader: ByteReader;
  readonly revision: number;
  /** Ids of the blocks in the order of the block table, each with its length. */
  readonly blocks: readonly { readonly id: string; readonly byteCount: number; readonly magic: number }[];
  readonly flagCount: number;
  readonly slotCount: number;
  readonly instants: readonly number[];
}

/** Checks everything in a root that does not depend on its blocks. Throws BadBytes. */
export function verifyRoot(root: Uint8Array, environment: EnvironmentRef): VerifiedRoot {
  check(root.length >= ROOT.bytes && root.length % 8 === 0, 'the root is cut');
  const reader = new ByteReader(root);
  check(reader.u32(ROOT.magic) === ROOT_MAGIC, 'this is no snapshot');
  check(reader.u32(ROOT.formatVersion) === SNAPSHOT_FORMAT_VERSION, 'the snapshot has another format version');
  check(reader.u32(ROOT.layoutHash) === LAYOUT_HASH, 'the snapshot has another layout');
  check(reader.u32(ROOT.totalBytes) === root.length, 'the root does not have its length');
  const tag = root.subarray(ROOT.environmentTag, ROOT.digest);
  check(Buffer.compare(tag, environmentTag(environment)) === 0, 'the snapshot belongs to another environment');
  const digest = root.subarray(ROOT.digest, ROOT.layoutHash);
  check(Buffer.compare(digest, rootDigest(root)) === 0, 'the digest of the root is wrong');
  const revision = Number(reader.u64(ROOT.revision));
  check(Number.isSafeInteger(revision), 'the revision is out of range');
  reader.claim(0, 1, ROOT.bytes, 'the header');
  const table = (count: number, offset: number, recordBytes: number): number => {
    reader.claim(reader.u32(offset), reader.u32(count), recordBytes, 'a table');
    return reader.u32(count);
  };
  const flagCount = table(ROOT.flagCount, ROOT.flags, FLAG_ENTRY.bytes);
  check(flagCount <= LIMITS.flagsPerEnvironment, 'the snapshot has too many flags');
  checkHashTable(reader, reader.u32(ROOT.flagHash), reader.u32(ROOT.flagHashCount), flagCount);
  checkCosts(reader, flagCount);
  table(ROOT.segmentCount, ROOT.segments, SEGMENT_ENTRY.bytes);
  table(ROOT.listCount, ROOT.lists, LIST.bytes);
  table(ROOT.chunkCount, ROOT.chunks, CHUNK.bytes);
  table(ROOT.refCount, ROOT.refs, 4);
  table(ROOT.instantCount, ROOT.instants, 8);
  table(ROOT.stringBytes, ROOT.strings, 1);
  const slotCount = table(ROOT.slotCount, ROOT.slots, SLOT.bytes);
  verifySlots(reader, slotCount);
  return { reader, revision, blocks: readBlocks(reader), flagCount, slotCount, instants: readInstants(reader) };
}

/** A lower maximum would let a request block the thread that asked for little. */
function checkCosts(reader: ByteReader, flagCount: number): void {
  const costMax = reader.u32(ROOT.flagCostMax);
  for (let index = 0; index < flagCount; index += 1) {
    const cost = reader.u32(reader.u32(ROOT.flags) + index * FLAG_ENTRY.bytes + FLAG_ENTRY.cost);
    check(cost <= costMax, 'a flag costs more than the most');
  }
}

/** A parent stands before its child and no chain is longer than SLOT_DEPTH_MAX: looking up a slot ends. */
function verifySlots(reader: ByteReader, slotCount: number): void {
  checkHashTable(reader, reader.u32(ROOT.slotHash), reader.u32(ROOT.slotHashCount), slotCount);
  const strings = reader.u32(ROOT.strings);
  const stringsEnd = strings + reader.u32(ROOT.stringBytes);
  const depths: number[] = [];
  for (let index = 0; index < slotCount; index += 1) {
    const slot = reader.u32(ROOT.slots) + index * SLOT.bytes;
    const type = reader.u32(slot + SLOT.type);
    const parent = reader.u32(slot + SLOT.parent);
    const name = reader.u32(slot + SLOT.nameOffset);
    check(name >= strings && name + reader.u32(slot + SLOT.nameBytes) <= stringsEnd, 'the name of a slot lies outside');
    check(type <= SLOT_TYPE.step, 'a slot is of no known type');
    const parentDepth = type === SLOT_TYPE.kind ? -1 : depths[parent];
    check(
      parentDepth !== undefined && (type === SLOT_TYPE.kind) === (parent === NONE),
      'a slot comes before its parent',
    );
    check(Math.min(parentDepth + 1, SLOT_TYPE.step) === type, 'a slot has a parent of the wrong type');
    check(parentDepth < SLOT_DEPTH_MAX, 'a slot lies too deep');
    depths.push(parentDepth + 1);
  }
  check(depths[reader.u32(ROOT.userKind)] === 0, 'the kind `user` is not there');
}

function readBlocks(reader: ByteReader): VerifiedRoot['blocks'] {
  const count = reader.u32(ROOT.blockCount);
  const table = reader.u32(ROOT.blocks);
  reader.claim(table, count, BLOCK_ENTRY.bytes, 'the block table');
  const ids = new Set<string>();
  const blocks: { id: string; byteCount: number; magic: number }[] = [];
  const bytes = Buffer.from(reader.bytes.buffer, reader.bytes.byteOffset, reader.bytes.byteLength);
  for (let index = 0; index < count; index += 1) {
    const entry = table + index * BLOCK_ENTRY.bytes;
    const id = bytes.toString('hex', entry + BLOCK_ENTRY.id, entry + BLOCK_ENTRY.blockBytes);
    check(!ids.has(id), 'a block is named twice');
    ids.add(id);
    blocks.push({
      id,
      byteCount: reader.u32(entry + BLOCK_ENTRY.blockBytes),
      magic: reader.u32(entry + BLOCK_ENTRY.kind),
    });
  }
  return blocks;
}

function readInstants(reader: ByteReader): number[] {
  const offset = reader.u32(ROOT.instants);
  const view = new DataView(reader.bytes.buffer, reader.bytes.byteOffset + offset, reader.u32(ROOT.instantCount) * 8);
  return Array.from({ length: view.byteLength / 8 }, (_, index) => view.getFloat64(index * 8, true));
}

/** Checks that the root and its blocks fit: every reference of a block means something that is there. Throws BadBytes. */
export function verifyReferences(root: VerifiedRoot, summaries: readonly BlockSummary[]): void {
  const { reader } = root;
  const blockOf = (index: number, magic: number): BlockSummary => {
    const summary = summaries[index];
    check(summary?.magic === magic, 'a table names a block of another kind');
    return summary;
  };
  for (const [index, block] of root.blocks.entries()) blockOf(index, block.magic);
  const flags = reader.u32(ROOT.flags);
  let counter: number = USAGE.firstFlag;
  for (let index = 0; index < root.flagCount; index += 1) {
    const entry = flags + index * FLAG_ENTRY.bytes;
    const block = blockOf(reader.u32(entry + FLAG_ENTRY.block), FLAG_MAGIC);
    verifyUnitRefs(root, reader.u32(entry + FLAG_ENTRY.refs), block);
    check(reader.u32(entry + FLAG_ENTRY.counter) === counter, 'the counters of a flag lie elsewhere');
    counter += USAGE.errorCount + block.variationCount;
  }
  check(reader.u32(ROOT.counterCount) === counter, 'there are more or fewer counters than results');
  const segments = reader.u32(ROOT.segments);
  for (let index = 0; index < reader.u32(ROOT.segmentCount); index += 1) {
    const entry = segments + index * SEGMENT_ENTRY.bytes;
    const block = blockOf(reader.u32(entry + SEGMENT_ENTRY.block), SEGMENT_MAGIC);
    verifyUnitRefs(root, reader.u32(entry + SEGMENT_ENTRY.refs), block);
    for (const field of [SEGMENT_ENTRY.included, SEGMENT_ENTRY.excluded]) {
      const end = reader.u32(entry + field) + reader.u32(entry + field + 4);
      check(end <= reader.u32(ROOT.listCount), 'a segment names lists that are not there');
    }
  }
  verifyLists(root, blockOf);
}

function verifyUnitRefs(root: VerifiedRoot, first: number, block: BlockSummary): void {
  const { reader } = root;
  const { slotRefCount, segmentRefCount, prerequisiteCount } = block;
  const count = slotRefCount + segmentRefCount + prerequisiteCount * PREREQUISITE_REF_WORDS;
  check(first + count <= reader.u32(ROOT.refCount), 'references are cut');
  const refs = reader.u32(ROOT.refs) + first * 4;
  const segmentCount = reader.u32(ROOT.segmentCount);
  for (let index = 0; index < slotRefCount; index += 1) {
    check(reader.u32(refs + index * 4) < root.slotCount, 'a slot is not there');
  }
  for (let index = slotRefCount; index < slotRefCount + segmentRefCount; index += 1) {
    const segment = reader.u32(refs + index * 4);
    check(segment < segmentCount || segment === NONE, 'a segment is not there');
  }
  for (let index = slotRefCount + segmentRefCount; index < count; index += PREREQUISITE_REF_WORDS) {
    const flag = reader.u32(refs + index * 4);
    check(flag < root.flagCount || flag === NONE, 'a prerequisite is not there');
  }
}

function verifyLists(root: VerifiedRoot, blockOf: (index: number, magic: number) => BlockSummary): void {
  const { reader } = root;
  const chunkCount = reader.u32(ROOT.chunkCount);
  for (let index = 0; index < reader.u32(ROOT.listCount); index += 1) {
    const list = reader.u32(ROOT.lists) + index * LIST.bytes;
    check(reader.u32(list + LIST.targetingKey) < root.slotCount, 'a list names no slot');
    check(reader.u32(list + LIST.chunk) + reader.u32(list + LIST.chunkCount) <= chunkCount, 'a list is cut');
  }
  for (let index = 0; index < chunkCount; index += 1) {
    const chunk = reader.u32(ROOT.chunks) + index * CHUNK.bytes;
    check(reader.u32(chunk + CHUNK.prefixBits) <= 32, 'a chunk has too long a prefix');
    blockOf(reader.u32(chunk + CHUNK.block), KEYS_MAGIC);
  }
}
