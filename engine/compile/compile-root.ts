import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type EnvironmentRef, LIMITS, PlatformError } from '@guidon/protocol';
import { ByteWriter } from './byte-writer.js';
import type { CompiledFlag } from './compile-flag.js';
import type { CompiledSegment, CompiledSegmentKeys } from './compile-segment.js';
import type { BlockId, CompiledUnit } from './compiled-unit.js';
import { environmentTag } from './environment-tag.js';
import { hashTableOf } from './hash-table.js';
import {
  BLOCK_ENTRY,
  CHUNK,
  FLAG_ENTRY,
  LAYOUT_HASH,
  LIST,
  NONE,
  PREREQUISITE_REF_WORDS,
  ROOT,
  ROOT_MAGIC,
  SEGMENT_ENTRY,
  SLOT,
  SLOT_TYPE,
  SNAPSHOT_FORMAT_VERSION,
} from './layout.js';
import { type Slot, SlotCollector, type SlotInterner } from './slot-table.js';
import { USAGE } from './thread-layout.js';

/** One key list of a segment for one kind: chunks ascending by prefix. */
export interface SegmentKeyList {
  readonly contextKind: string;
  readonly chunks: readonly CompiledSegmentKeys[];
}

export interface RootInput {
  readonly environment: EnvironmentRef;
  readonly revision: number;
  readonly interner: SlotInterner;
  /** Sorted by key bytes, as are the segments. */
  readonly flags: readonly CompiledFlag[];
  readonly segments: readonly CompiledSegment[];
  readonly included: (segmentKey: string) => readonly SegmentKeyList[];
  readonly excluded: (segmentKey: string) => readonly SegmentKeyList[];
  readonly flagCost: (flag: CompiledFlag) => number;
}

/** Writes the root block: pure tables over blocks that are already there. Throws `limit-exceeded` for names that cannot be told apart fast. */
export function compileRoot(input: RootInput): { root: Uint8Array; blocks: Map<BlockId, Uint8Array> } {
  const writer = new RootWriter(input);
  return { root: writer.write(), blocks: writer.blocks };
}

class RootWriter {
  readonly blocks = new Map<BlockId, Uint8Array>();
  readonly #input: RootInput;
  readonly #writer = new ByteWriter();
  readonly #sharedBlocks = new Map<BlockId, number>();
  readonly #blockUnits: CompiledUnit[] = [];
  readonly #refs: number[] = [];
  readonly #flagIndexes = new Map<string, number>();
  readonly #segmentIndexes = new Map<string, number>();

  constructor(input: RootInput) {
    this.#input = input;
    if (input.flags.some((flag) => flag.prerequisites.length > 0)) {
      for (const [index, flag] of input.flags.entries()) this.#flagIndexes.set(flag.definition.key, index);
    }
    for (const [index, segment] of input.segments.entries()) this.#segmentIndexes.set(segment.definition.key, index);
  }

  write(): Uint8Array {
    const writer = this.#writer;
    writer.reserve(ROOT.bytes, 8);
    const slots = this.#collectSlots();
    this.#writeFlags();
    this.#writeSegments();
    this.#writeSlots(slots);
    this.#writeWords(this.#refs, ROOT.refCount, ROOT.refs);
    this.#writeInstants();
    this.#writeBlocks();
    this.#writeHeader();
    const root = writer.finish();
    root.set(rootDigest(root), ROOT.digest);
    return root;
  }

  #collectSlots(): Slot[] {
    const { interner, flags, segments, included, excluded } = this.#input;
    const collector = new SlotCollector();
    collector.add(interner.kind('user'));
    for (const units of [flags, segments]) for (const unit of units) for (const slot of unit.slots) collector.add(slot);
    for (const { definition } of segments) {
      for (const list of [...included(definition.key), ...excluded(definition.key)]) {
        collector.add(interner.slotOf(list.contextKind, ['targetingKey']));
      }
    }
    const slots = collector.finish();
    if (slots.length > LIMITS.slotsPerEnvironment) {
      const detail = `the environment asks for more than ${LIMITS.slotsPerEnvironment} different attributes`;
      throw new PlatformError('limit-exceeded', detail);
    }
    return slots;
  }

  /** Only segments and chunks can have the same bytes twice; a flag's hold its key. */
  #sharedBlockIndex(unit: CompiledUnit): number {
    const known = this.#sharedBlocks.get(unit.id);
    if (known !== undefined) return known;
    const index = this.#addBlock(unit);
    this.#sharedBlocks.set(unit.id, index);
    return index;
  }

  #addBlock(unit: CompiledUnit): number {
    this.blocks.set(unit.id, unit.block);
    return this.#blockUnits.push(unit) - 1;
  }

  #writeFlags(): void {
    const { flags, flagCost } = this.#input;
    const writer = this.#writer;
    const table = this.#table(flags.length, FLAG_ENTRY.bytes, ROOT.flagCount, ROOT.flags);
    let costMax = 0;
    let counter: number = USAGE.firstFlag;
    for (const [index, flag] of flags.entries()) {
      const entry = table + index * FLAG_ENTRY.bytes;
      writer.u32(entry + FLAG_ENTRY.keyHash, flag.keyHash);
      writer.u32(entry + FLAG_ENTRY.block, this.#addBlock(flag));
      writer.u32(entry + FLAG_ENTRY.refs, this.#refs.length);
      const cost = flagCost(flag);
      costMax = Math.max(costMax, cost);
      writer.u32(entry + FLAG_ENTRY.cost, cost);
      writer.u32(entry + FLAG_ENTRY.counter, counter);
      counter += USAGE.errorCount + flag.variationKeys.length;
      this.#pushReferences(flag);
      for (const prerequisite of flag.prerequisites) this.#pushPrerequisite(prerequisite);
    }
    writer.u32(ROOT.flagCostMax, costMax);
    writer.u32(ROOT.counterCount, counter);
    const hashTable = hashTableOf(flags.map(({ keyHash }, index) => ({ hash: keyHash, index })));
    this.#writeWords(hashTable, ROOT.flagHashCount, ROOT.flagHash);
  }

  #pushReferences(unit: CompiledUnit): void {
    for (const slot of unit.slots) this.#refs.push(slot.index);
    for (const key of unit.segments) this.#refs.push(this.#segmentIndexes.get(key) ?? NONE);
  }

  #pushPrerequisite({ flag, variations }: { flag: string; variations: readonly string[] }): void {
    const index = this.#flagIndexes.get(flag);
    const mask: [number, number] = [0, 0];
    const keys = index === undefined ? [] : (this.#input.flags[index]?.variationKeys ?? []);
    for (const [position, key] of keys.entries()) {
      if (variations.includes(key)) mask[position < 32 ? 0 : 1] |= 1 << (position % 32);
    }
    this.#refs.push(index ?? NONE, mask[0] >>> 0, mask[1] >>> 0);
    assert(PREREQUISITE_REF_WORDS === 3, 'a prerequisite is an index and two words of mask');
  }

  #writeSegments(): void {
    const { segments, included, excluded } = this.#input;
    const writer = this.#writer;
    const lists: SegmentKeyList[] = [];
    const table = this.#table(segments.length, SEGMENT_ENTRY.bytes, ROOT.segmentCount, ROOT.segments);
    for (const [index, segment] of segments.entries()) {
      const entry = table + index * SEGMENT_ENTRY.bytes;
      const key = segment.definition.key;
      writer.u32(entry + SEGMENT_ENTRY.block, this.#sharedBlockIndex(segment));
      writer.u32(entry + SEGMENT_ENTRY.refs, this.#refs.length);
      this.#pushReferences(segment);
      writer.u32(entry + SEGMENT_ENTRY.included, lists.length);
      writer.u32(
        entry + SEGMENT_ENTRY.includedCount,
        lists.push(...included(key)) - writer.readU32(entry + SEGMENT_ENTRY.included),
      );
      writer.u32(entry + SEGMENT_ENTRY.excluded, lists.length);
      writer.u32(
        entry + SEGMENT_ENTRY.excludedCount,
        lists.push(...excluded(key)) - writer.readU32(entry + SEGMENT_ENTRY.excluded),
      );
    }
    this.#writeLists(lists);
  }

  #writeLists(lists: readonly SegmentKeyList[]): void {
    const writer = this.#writer;
    const chunks = lists.flatMap((list) => list.chunks);
    const table = this.#table(lists.length, LIST.bytes, ROOT.listCount, ROOT.lists);
    let firstChunk = 0;
    for (const [index, list] of lists.entries()) {
      const entry = table + index * LIST.bytes;
      const slot = this.#input.interner.slotOf(list.contextKind, ['targetingKey']);
      writer.u32(entry + LIST.targetingKey, slot.index);
      writer.u32(entry + LIST.chunk, firstChunk);
      writer.u32(entry + LIST.chunkCount, list.chunks.length);
      firstChunk += list.chunks.length;
    }
    const chunkTable = this.#table(chunks.length, CHUNK.bytes, ROOT.chunkCount, ROOT.chunks);
    for (const [index, chunk] of chunks.entries()) {
      const entry = chunkTable + index * CHUNK.bytes;
      writer.u32(entry + CHUNK.prefix, prefixStart(chunk.definition.prefix));
      writer.u32(entry + CHUNK.prefixBits, chunk.definition.prefix.length);
      writer.u32(entry + CHUNK.block, this.#sharedBlockIndex(chunk));
    }
  }

  #writeSlots(slots: readonly Slot[]): void {
    const writer = this.#writer;
    const table = this.#table(slots.length, SLOT.bytes, ROOT.slotCount, ROOT.slots);
    const named = slots.filter((slot) => slot.type !== SLOT_TYPE.step);
    const hashed: { hash: number; index: number }[] = [];
    const strings = writer.reserve(0, 1);
    for (const [index, slot] of slots.entries()) {
      const entry = table + index * SLOT.bytes;
      const parent = slot.parent?.index ?? NONE;
      writer.u32(entry + SLOT.type, slot.type);
      writer.u32(entry + SLOT.parent, parent);
      writer.u32(entry + SLOT.nameOffset, writer.append(slot.nameBytes));
      writer.u32(entry + SLOT.nameBytes, slot.nameBytes.length);
      writer.u32(entry + SLOT.nameHash, slot.nameHash);
      writer.u32(entry + SLOT.arrayIndex, arrayIndexOf(slot.name));
      if (slot.type !== SLOT_TYPE.step) hashed.push({ hash: slotHash(slot.nameHash, parent), index });
    }
    writer.u64(ROOT.nameMarks, nameMarks(named));
    writer.u32(ROOT.strings, strings);
    writer.u32(ROOT.stringBytes, writer.length - strings);
    this.#writeWords(hashTableOf(hashed), ROOT.slotHashCount, ROOT.slotHash);
    writer.u32(ROOT.userKind, this.#input.interner.kind('user').index);
  }

  #writeInstants(): void {
    const { flags, segments } = this.#input;
    const all = new Set<number>();
    for (const units of [flags, segments]) {
      for (const unit of units)
        for (let index = 0; index < unit.instants.length; index += 1) all.add(unit.instants[index] ?? 0);
    }
    const ordered = [...all].sort((a, b) => a - b);
    const offset = this.#writer.reserve(ordered.length * 8, 8);
    for (const [index, instant] of ordered.entries()) this.#writer.f64(offset + index * 8, instant);
    this.#writer.u32(ROOT.instantCount, ordered.length);
    this.#writer.u32(ROOT.instants, offset);
  }

  #writeBlocks(): void {
    const writer = this.#writer;
    const table = this.#table(this.#blockUnits.length, BLOCK_ENTRY.bytes, ROOT.blockCount, ROOT.blocks);
    for (const [index, unit] of this.#blockUnits.entries()) {
      const entry = table + index * BLOCK_ENTRY.bytes;
      for (let word = 0; word < 8; word += 1) writer.u32(entry + BLOCK_ENTRY.id + word * 4, unit.idWords[word] ?? 0);
      writer.u32(entry + BLOCK_ENTRY.blockBytes, unit.block.length);
      writer.u32(entry + BLOCK_ENTRY.kind, unit.magic);
    }
  }

  #writeHeader(): void {
    const { environment, revision } = this.#input;
    const writer = this.#writer;
    writer.reserve(0, 8);
    writer.u32(ROOT.magic, ROOT_MAGIC);
    writer.u32(ROOT.formatVersion, SNAPSHOT_FORMAT_VERSION);
    writer.u64(ROOT.revision, BigInt(revision));
    writer.set(ROOT.environmentTag, environmentTag(environment));
    writer.u32(ROOT.layoutHash, LAYOUT_HASH);
    writer.u32(ROOT.totalBytes, writer.length);
  }

  #table(count: number, recordBytes: number, countField: number, offsetField: number): number {
    const offset = this.#writer.reserve(count * recordBytes);
    this.#writer.u32(countField, count);
    this.#writer.u32(offsetField, offset);
    return offset;
  }

  #writeWords(words: ArrayLike<number>, countField: number, offsetField: number): void {
    const table = this.#table(words.length, 4, countField, offsetField);
    for (let index = 0; index < words.length; index += 1) this.#writer.u32(table + index * 4, words[index] ?? 0);
  }
}

const DIGEST_BYTES = 32;

/** SHA-256 of a root as if its digest field were zero. */
export function rootDigest(root: Uint8Array): Uint8Array {
  return createHash('sha256')
    .update(root.subarray(0, ROOT.digest))
    .update(new Uint8Array(DIGEST_BYTES))
    .update(root.subarray(ROOT.digest + DIGEST_BYTES))
    .digest();
}

/** Where a slot's look-up starts in the slot hash: its name and what it belongs to. The kernel computes the same. */
export function slotHash(nameHash: number, parent: number): number {
  return (nameHash ^ Math.imul(parent, 0x9e3779b1)) >>> 0;
}

function nameMarks(slots: readonly Slot[]): bigint {
  return slots.reduce((marks, slot) => marks | (1n << BigInt(slot.nameHash & 63)), 0n);
}

/** A JSON pointer token that names an array element, else NONE. */
function arrayIndexOf(name: string): number {
  return /^(?:0|[1-9][0-9]{0,8})$/.test(name) ? Number(name) : NONE;
}

/** The smallest hash of a trie leaf: its binary digits, left-aligned in 32 bits. */
function prefixStart(prefix: string): number {
  return Number.parseInt(prefix.padEnd(32, '0'), 2);
}
