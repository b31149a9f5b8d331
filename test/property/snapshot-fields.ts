import {
  BLOCK_ENTRY,
  CHUNK,
  CIDR,
  FLAG,
  FLAG_ENTRY,
  FLAG_MAGIC,
  FRAGMENT,
  IN,
  KEY_ENTRY,
  KEYS,
  KEYS_MAGIC,
  LIST,
  MEMBERS,
  NODE,
  OP,
  ROLLOUT,
  ROOT,
  RULE,
  SEGMENT,
  SEGMENT_ENTRY,
  SEGMENT_RULE,
  SEMVER,
  SLOT,
  STRING_ENTRY,
  STRING_SET,
  TARGET,
  TEXT,
  WEIGHT,
} from '@guidon/engine/compile/layout.js';

/** A number somewhere in a root or a block. */
export interface FieldSite {
  readonly name: string;
  readonly offset: number;
  readonly bytes: 1 | 2 | 4;
}

/** Fields that are no u32; every other one is written and read as u32, also where it is half of a u64. */
const NARROW: Readonly<Record<string, 1 | 2>> = {
  'NODE.op': 1,
  'NODE.bits': 1,
  'NODE.onMatch': 2,
  'NODE.onMismatch': 2,
  'NODE.size': 1,
  'NODE.outcomes': 1,
  'FLAG.bits': 1,
  'FLAG.variationCount': 1,
  'FLAG.offVariation': 1,
  'RULE.nodeCount': 2,
  'RULE.entry': 2,
  'SEGMENT_RULE.nodeCount': 2,
  'SEGMENT_RULE.entry': 2,
  'CIDR.family': 2,
  'CIDR.prefixBits': 2,
};

type Fields = Readonly<Record<string, number>>;

/** Walks a root or a block that the compiler wrote and lists every field of every record in it. */
class FieldWalk {
  readonly sites: FieldSite[] = [];
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  record(table: string, fields: Fields, at: number): void {
    for (const [name, offset] of Object.entries(fields)) {
      if (name === 'bytes' || offset >= (fields.bytes ?? 0)) continue;
      this.sites.push({ name: `${table}.${name}`, offset: at + offset, bytes: NARROW[`${table}.${name}`] ?? 4 });
    }
  }

  records(table: string, fields: Fields, at: number, count: number, each?: (record: number) => void): void {
    const bytes = fields.bytes ?? 0;
    for (let record = at; record < at + count * bytes; record += bytes) {
      this.record(table, fields, record);
      each?.(record);
    }
  }

  words(name: string, at: number, count: number): void {
    for (let index = 0; index < count; index += 1) this.sites.push({ name, offset: at + index * 4, bytes: 4 });
  }

  stringSet(set: number): void {
    const count = this.u32(set + STRING_SET.count);
    const tableCount = this.u32(set + STRING_SET.tableCount);
    const words = tableCount + ((count + 3) & ~3);
    this.record('STRING_SET', STRING_SET, set);
    this.words('STRING_SET table', set + STRING_SET.table, words);
    this.records('STRING_ENTRY', STRING_ENTRY, set + STRING_SET.table + words * 4, count);
  }

  condition(nodes: number, nodeCount: number): void {
    this.records('NODE', NODE, nodes, nodeCount, (node) => this.operand(node));
  }

  operand(node: number): void {
    const op = this.u8(node + NODE.op);
    const operand = this.u32(node + NODE.operand);
    const count = this.u32(node + NODE.count);
    if (op === OP.inShort) this.words('SHORT_PAIR', operand, this.u8(node + NODE.size) * 4);
    else if (op === OP.semverOne) this.record('SEMVER', SEMVER, operand);
    else if (op < OP.in) return;
    else if (op === OP.in) {
      this.record('IN', IN, operand);
      const strings = this.u32(operand + IN.strings);
      if (strings !== 0) this.stringSet(strings);
      this.words('numbers', this.u32(operand + IN.numbers), this.u32(operand + IN.numberCount) * 2);
    } else if (op <= OP.containsIgnoreCase) {
      this.records('TEXT', TEXT, operand, count, (text) => {
        const failure = this.u32(text + TEXT.failure);
        if (failure !== 0) this.words('failure function', failure, this.u32(text + TEXT.length));
      });
    } else if (op === OP.order || op === OP.instant) this.words('numbers', operand, count * 2);
    else if (op === OP.semver) this.records('SEMVER', SEMVER, operand, count);
    else if (op === OP.cidr) this.records('CIDR', CIDR, operand, count);
    else if (op === OP.segment) this.words('segment refs', operand, count);
  }

  /** MEMBERS are two fragments, one behind the other. */
  members(at: number, count: number): void {
    this.records('FRAGMENT', FRAGMENT, at, (count * MEMBERS.bytes) / FRAGMENT.bytes);
  }

  rollout(rollout: number): void {
    if (rollout === 0) return;
    this.record('ROLLOUT', ROLLOUT, rollout);
    for (const prefix of [ROLLOUT.salt, ROLLOUT.layerSalt]) this.words('HASH_PREFIX', rollout + prefix, 4);
    this.records('WEIGHT', WEIGHT, rollout + ROLLOUT.weights, this.u32(rollout + ROLLOUT.weightCount));
  }
}

export function blockFields(bytes: Uint8Array): FieldSite[] {
  const walk = new FieldWalk(bytes);
  const magic = walk.u32(0);
  if (magic === FLAG_MAGIC) walkFlag(walk);
  else if (magic === KEYS_MAGIC) {
    walk.record('KEYS', KEYS, 0);
    walk.records('KEY_ENTRY', KEY_ENTRY, KEYS.table, walk.u32(KEYS.tableCount));
  } else walkSegment(walk);
  return walk.sites;
}

function walkFlag(walk: FieldWalk): void {
  walk.record('FLAG', FLAG, 0);
  walk.members(walk.u32(FLAG.variations), walk.u8(FLAG.variationCount));
  walk.members(walk.u32(FLAG.prerequisites), walk.u32(FLAG.prerequisiteCount));
  walk.records('FRAGMENT', FRAGMENT, walk.u32(FLAG.patterns), walk.u32(FLAG.patternCount));
  walk.records('TARGET', TARGET, walk.u32(FLAG.targets), walk.u32(FLAG.targetCount), (target) => {
    walk.stringSet(walk.u32(target + TARGET.keys));
  });
  walk.records('RULE', RULE, walk.u32(FLAG.rules), walk.u32(FLAG.ruleCount), (rule) => {
    walk.members(rule + RULE.id, 1);
    walk.condition(walk.u32(rule + RULE.nodes), walk.u16(rule + RULE.nodeCount));
    walk.rollout(walk.u32(rule + RULE.rollout));
  });
  walk.rollout(walk.u32(FLAG.fallthroughRollout));
}

function walkSegment(walk: FieldWalk): void {
  walk.record('SEGMENT', SEGMENT, 0);
  walk.records('FRAGMENT', FRAGMENT, walk.u32(SEGMENT.patterns), walk.u32(SEGMENT.patternCount));
  walk.records('SEGMENT_RULE', SEGMENT_RULE, walk.u32(SEGMENT.rules), walk.u32(SEGMENT.ruleCount), (rule) => {
    walk.condition(walk.u32(rule + SEGMENT_RULE.nodes), walk.u16(rule + SEGMENT_RULE.nodeCount));
    walk.rollout(walk.u32(rule + SEGMENT_RULE.rollout));
  });
}

export function rootFields(root: Uint8Array): FieldSite[] {
  const walk = new FieldWalk(root);
  walk.record('ROOT', ROOT, 0);
  const table = (name: string, fields: Fields, offset: number, count: number): void =>
    walk.records(name, fields, walk.u32(offset), walk.u32(count));
  table('BLOCK_ENTRY', BLOCK_ENTRY, ROOT.blocks, ROOT.blockCount);
  table('FLAG_ENTRY', FLAG_ENTRY, ROOT.flags, ROOT.flagCount);
  table('SLOT', SLOT, ROOT.slots, ROOT.slotCount);
  table('SEGMENT_ENTRY', SEGMENT_ENTRY, ROOT.segments, ROOT.segmentCount);
  table('LIST', LIST, ROOT.lists, ROOT.listCount);
  table('CHUNK', CHUNK, ROOT.chunks, ROOT.chunkCount);
  walk.words('flag hash', walk.u32(ROOT.flagHash), walk.u32(ROOT.flagHashCount));
  walk.words('slot hash', walk.u32(ROOT.slotHash), walk.u32(ROOT.slotHashCount));
  walk.words('refs', walk.u32(ROOT.refs), walk.u32(ROOT.refCount));
  walk.words('instants', walk.u32(ROOT.instants), walk.u32(ROOT.instantCount) * 2);
  return walk.sites;
}

/** What each field is tried with: values next to its own, values that pass for small ones, and what only a check of its range stops. */
export function triedValues({ bytes }: FieldSite, value: number, length: number): number[] {
  const max = 2 ** (bytes * 8);
  const tried = [0, 1, 2, 4, 8, value + 1, value - 1, value ^ 4, length, length - 8, max - 1, max - 2, max / 2];
  if (bytes === 4) tried.push(0x20000000, 0x3fffffff, 0x10000);
  return [...new Set(tried.map((each) => ((each % max) + max) % max))].filter((each) => each !== value);
}

export function readField(bytes: Uint8Array, { offset, bytes: width }: FieldSite): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUIntLE(offset, width);
}

export function withField(bytes: Uint8Array, { offset, bytes: width }: FieldSite, value: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy.writeUIntLE(value, offset, width);
  return copy;
}
