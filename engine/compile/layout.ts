import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { FLAG_FUEL, LIMITS, REGEX_FUEL, REQUEST_LIMITS } from '@guidon/protocol';
import { IS_KIND, THREAD_CODE_TABLES, THREAD_TABLES } from './thread-layout.js';

/**
 * Byte layouts of a snapshot: the one source. Written by the compiler, checked by verify-snapshot.ts, read by the kernel;
 * assembly/layout.ts is generated from these tables by scripts/gen-layout.ts.
 *
 * A snapshot is a root block and immutable, content-addressed blocks: one per flag, one per segment, one per chunk of segment keys.
 * Blocks hold no position and nothing of the environment, so a block that did not change is neither rewritten nor copied again.
 * All numbers are little-endian. Offsets count bytes from the start of the block they stand in; 0 as an offset means "none".
 *
 * History of SNAPSHOT_FORMAT_VERSION: 1 = first format; 2 = names are hashed whole, walks through a table are bounded;
 * 3 = costs of flags are work, no longer fuel; 4 = clauses with one value hold it in their node; 5 = members of an answer in
 * msgpack and in JSON; 6 = a call can be given up;
 * 7 = the exits of a clause are ordered by match; 8 = requests in JSON;
 * 9 = counters of results; 10 = a request starts anywhere in its region. It rises with every change of these tables (layout.test.ts pins both).
 */
export const SNAPSHOT_FORMAT_VERSION = 10;

/** No index, no reference. */
export const NONE = 0xffffffff;

/**
 * ROOT: the tables of one environment at one revision. 192 bytes of header, then the tables in the order of the header.
 * off size type    field              invariant
 *   0    4 u32     magic              "SNAP"
 *   4    4 u32     formatVersion      = SNAPSHOT_FORMAT_VERSION
 *   8    8 u64     revision           <= 2^53 - 1
 *  16   16 u8[16]  environmentTag     SHA-256("<tenantId>/<projectId>/<environmentId>")[0..16): another tenant's bytes never load
 *  32   32 u8[32]  digest             SHA-256 of the whole root with this field zeroed; it covers every block through its id
 *  64    4 u32     layoutHash         = LAYOUT_HASH
 *  68    4 u32     totalBytes         whole root, multiple of 8
 *  72    8         blocks             count, offset -> BLOCK_ENTRY
 *  80    8         flags              count, offset -> FLAG_ENTRY, sorted by key bytes
 *  88    8         flagHash           count (power of two > flags), offset -> u32 flagIndex + 1, 0 = empty, linear probing of <= 64
 *  96    8         slots              count, offset -> SLOT
 * 104    8         slotHash           like flagHash, over kinds and attributes
 * 112    8         segments           count, offset -> SEGMENT_ENTRY, sorted by key bytes
 * 120    8         lists              count, offset -> LIST
 * 128    8         chunks             count, offset -> CHUNK
 * 136    8         refs               count, offset -> u32, what the local reference lists of the blocks mean here
 * 144    8         instants           count, offset -> f64 epoch ms, ascending: when a clause on `@now` changes its answer
 * 152    8         strings            bytes, offset -> UTF-8 names of the slots
 * 160    4 u32     userKind           slot of the kind `user`
 * 164    4 u32     flagCostMax        the highest cost of a FLAG_ENTRY
 * 168    8 u64     nameMarks          bit (nameHash & 63) of every kind and attribute: most other names are known by it at once
 * 176    4 u32     counterCount       words of a USAGE block (thread-layout.ts)
 * 180   12         reserved1          0
 */
export const ROOT = {
  bytes: 192,
  magic: 0,
  formatVersion: 4,
  revision: 8,
  environmentTag: 16,
  digest: 32,
  layoutHash: 64,
  totalBytes: 68,
  blockCount: 72,
  blocks: 76,
  flagCount: 80,
  flags: 84,
  flagHashCount: 88,
  flagHash: 92,
  slotCount: 96,
  slots: 100,
  slotHashCount: 104,
  slotHash: 108,
  segmentCount: 112,
  segments: 116,
  listCount: 120,
  lists: 124,
  chunkCount: 128,
  chunks: 132,
  refCount: 136,
  refs: 140,
  instantCount: 144,
  instants: 148,
  stringBytes: 152,
  strings: 156,
  userKind: 160,
  flagCostMax: 164,
  nameMarks: 168,
  counterCount: 176,
} as const;
export const ROOT_MAGIC = 0x50414e53;

/** BLOCK_ENTRY, 40 bytes: id u8[32] = SHA-256 of the block, blockBytes u32, kind u32 (its magic). No id twice. */
export const BLOCK_ENTRY = { bytes: 40, id: 0, blockBytes: 32, kind: 36 } as const;

/**
 * FLAG_ENTRY, 20 bytes: keyHash u32 (nameHash), block u32 (index), refs u32 (index of its first ref), cost u32 (flag-cost.ts),
 * counter u32 (its first word of a USAGE block; the next flag's is behind its last).
 */
export const FLAG_ENTRY = { bytes: 20, keyHash: 0, block: 4, refs: 8, cost: 12, counter: 16 } as const;

/**
 * SLOT, 24 bytes: one place a context can hold a value. Kinds come first, then attributes, then steps; a parent comes before its child.
 *   0 u32 type        SLOT_TYPE
 *   4 u32 parent      attribute: slot of its kind; step: slot of the value it looks into; kind: NONE
 *   8 u32 nameOffset  from the start of the root
 *  12 u32 nameBytes
 *  16 u32 nameHash    nameHash(name)
 *  20 u32 arrayIndex  step whose token is a canonical array index: that index, else NONE
 */
export const SLOT = {
  bytes: 24,
  type: 0,
  parent: 4,
  nameOffset: 8,
  nameBytes: 12,
  nameHash: 16,
  arrayIndex: 20,
} as const;
export const SLOT_TYPE = { kind: 0, attribute: 1, step: 2 } as const;
/** A context deeper than LIMITS.contextDepth is refused, so nothing further down can exist. */
export const SLOT_DEPTH_MAX = 20;

/** SEGMENT_ENTRY, 24 bytes: block, refs, then first list and number of lists of the included and of the excluded keys. */
export const SEGMENT_ENTRY = {
  bytes: 24,
  block: 0,
  refs: 4,
  included: 8,
  includedCount: 12,
  excluded: 16,
  excludedCount: 20,
} as const;

/** LIST, 12 bytes: the keys of one kind; targetingKey u32 = slot of that attribute, first chunk, number of chunks. */
export const LIST = { bytes: 12, targetingKey: 0, chunk: 4, chunkCount: 8 } as const;

/** CHUNK, 12 bytes: prefix u32 (left-aligned bits), prefixBits u32 <= 32, block u32. Ascending inside a list, no overlap. */
export const CHUNK = { bytes: 12, prefix: 0, prefixBits: 4, block: 8 } as const;

/** PREREQUISITE_REF, 3 words in the refs of a flag: flag index or NONE, mask of accepted variation indexes (low, high). */
export const PREREQUISITE_REF_WORDS = 3;

/**
 * FLAG block. Its refs in the root are: slotRefCount slots, segmentRefCount segments, prerequisiteCount x PREREQUISITE_REF.
 *   0 u32 magic "FLAG"   4 u32 totalBytes, multiple of 8
 *   8 u8 bits (FLAG_BIT)  9 u8 variationCount (0 only when unserved)  10 u8 offVariation  11 u8 reserved
 *  12 u32 keyOffset  16 u32 keyBytes
 *  20 u32 variations     -> MEMBERS: flag, value, variation
 *  24 u32 prerequisites  28 u32 prerequisiteCount -> MEMBERS: prerequisite
 *  32 u32 targets        36 u32 targetCount -> TARGET
 *  40 u32 rules          44 u32 ruleCount -> RULE
 *  48 u32 fallthroughRollout (0 = plain)  52 u32 fallthroughVariation
 *  56 u32 slotRefCount   60 u32 segmentRefCount
 *  64 u32 patterns       68 u32 patternCount -> FRAGMENT: UTF-8 of an RE2 pattern
 */
export const FLAG = {
  bytes: 72,
  magic: 0,
  totalBytes: 4,
  bits: 8,
  variationCount: 9,
  offVariation: 10,
  keyOffset: 12,
  keyBytes: 16,
  variations: 20,
  prerequisites: 24,
  prerequisiteCount: 28,
  targets: 32,
  targetCount: 36,
  rules: 40,
  ruleCount: 44,
  fallthroughRollout: 48,
  fallthroughVariation: 52,
  slotRefCount: 56,
  segmentRefCount: 60,
  patterns: 64,
  patternCount: 68,
} as const;
export const FLAG_MAGIC = 0x47414c46;
/** unserved: `requires` a feature this evaluator lacks. static: neither rules, targets nor prerequisites. */
export const FLAG_BIT = { on: 1, clientSide: 2, unserved: 4, static: 8 } as const;

/** FRAGMENT, 8 bytes: a run of bytes inside the block. */
export const FRAGMENT = { bytes: 8, offset: 0, length: 4 } as const;

/**
 * MEMBERS, 16 bytes: the same members of an answer in both formats, which copies them as they are: a FRAGMENT of msgpack names and values,
 * a FRAGMENT of JSON members with a comma behind each.
 */
export const MEMBERS = { bytes: 16, msgpack: 0, json: 8 } as const;

/** TARGET, 12 bytes: targetingKey u32 (slot ref), variation u32, keys u32 -> STRING_SET. */
export const TARGET = { bytes: 12, targetingKey: 0, variation: 4, keys: 8 } as const;

/** RULE, 32 bytes, begins like SEGMENT_RULE: nodes u32, nodeCount u16, entry u16 (node index, ALWAYS or NEVER), rollout u32, variation u32, MEMBERS: ruleId. */
export const RULE = { bytes: 32, nodes: 0, nodeCount: 4, entry: 6, rollout: 8, variation: 12, id: 16 } as const;
export const ALWAYS = 0xffff;
export const NEVER = 0xfffe;

/**
 * NODE, 32 bytes at a multiple of 32: one clause. A condition tree is a list of clauses, each naming where to go on when its attribute
 * matches and when not: a later node, ALWAYS or NEVER. As jumps only go forward, no bytes can make the kernel loop. What `negate` means
 * is in the order of the two; its bit only says that a missing attribute goes where a match does, for it never holds.
 *   0 u8 op   1 u8 bits (NODE_BIT)   2 u16 onMatch   4 u16 onMismatch
 *   6 u8 size     of the value (see OPERAND)
 *   7 u8 outcomes (OUTCOME) that hold, where values are ordered
 *   8 u32 slot (slot ref; 0 when the bits name another source)
 *  12 u32 operand (see OPERAND)
 *  16 u8[16] value of a clause with one, or
 *  16 u32 count: values of the clause   20 u32 argument: `exists` 1 or 0; `matches` first pattern
 */
export const NODE = {
  bytes: 32,
  op: 0,
  bits: 1,
  onMatch: 2,
  onMismatch: 4,
  size: 6,
  outcomes: 7,
  slot: 8,
  operand: 12,
  value: 16,
  count: 16,
  argument: 20,
} as const;
/** now: the attribute is `@now`; kinds: it is the list of the context's kinds. */
export const NODE_BIT = { negate: 1, now: 2, kinds: 4 } as const;
/** How an attribute may compare with a value of the clause. */
export const OUTCOME = { less: 1, equal: 2, greater: 4 } as const;

/**
 * OPERAND by operator. The first ones are what clauses most often are, compared without looking outside of the node; such a clause
 * reads an attribute and costs 1 and the attribute's size.
 * inText startsWithOne endsWithOne   value: one string of `size` <= 16 bytes
 * inShort                            `size` x SHORT_PAIR, 1-8
 * semverOne                          value: packed u64; one SEMVER
 * orderOne                           value: one f64
 * The others have `count` records:
 * in                                 one IN, whatever the count
 * startsWith … contains              TEXT (folded already in the IgnoreCase twins)
 * order instant                      f64 (epoch ms)
 * semver cidr                        SEMVER, CIDR
 * segment                            u32 segment refs
 */
export const OP = {
  inText: 1,
  inShort: 2,
  startsWithOne: 3,
  endsWithOne: 4,
  semverOne: 5,
  orderOne: 6,
  in: 7,
  startsWith: 8,
  endsWith: 9,
  contains: 10,
  startsWithIgnoreCase: 11,
  endsWithIgnoreCase: 12,
  containsIgnoreCase: 13,
  matches: 14,
  order: 15,
  instant: 16,
  semver: 17,
  cidr: 18,
  exists: 19,
  segment: 20,
} as const;
/** The last operator whose value stands in the node. */
export const OP_ONE_LAST = OP.orderOne;

/** SHORT_PAIR, 16 bytes: two strings of at most 7 bytes, each a u64 of its bytes, zeros, and its length in the last one. */
export const SHORT_PAIR = { bytes: 16, textBytesMax: 7 } as const;
export const SHORT_PAIRS_MAX = 8;
/** A string that stands in a node. */
export const NODE_TEXT_BYTES_MAX = 16;

/** IN, 16 bytes: strings u32 -> STRING_SET or 0, numbers u32 -> f64 ascending, numberCount u32, booleans u32 (1 false, 2 true). */
export const IN = { bytes: 16, strings: 0, numbers: 4, numberCount: 8, booleans: 12 } as const;

/**
 * STRING_SET: count u32, tableCount u32 (0 = compare all hashes, else power of two > count), then
 *   u32[tableCount]                     entry + 1 or 0, from the low bits of the hash with linear probing
 *   u32[count rounded up to four]       hashes (murmur3), compared four at a time; what fills up is never looked at
 *   count x STRING_ENTRY
 */
export const STRING_SET = { bytes: 8, count: 0, tableCount: 4, table: 8 } as const;
export const STRING_ENTRY = { bytes: 8, offset: 0, length: 4 } as const;
/** Up to so many hashes comparing all of them is faster than a table. */
export const STRING_SET_SCAN_MAX = 16;

/** Words of the hashes of a STRING_SET. */
export function hashWords(count: number): number {
  return (count + 3) & ~3;
}

/** TEXT, 12 bytes: offset, length, failure -> u32[length], the KMP failure function (0 = needle of at most TEXT_NAIVE_BYTES bytes). */
export const TEXT = { bytes: 12, offset: 0, length: 4, failure: 8 } as const;
export const TEXT_NAIVE_BYTES = 16;

/**
 * SEMVER, 40 bytes: packed u64 = major << 42 | minor << 21 | patch when all are < 2^21 and there is no pre-release, else all ones;
 * then digits of major, minor, patch and the pre-release text as (offset, length); length 0 = the part is missing.
 */
export const SEMVER = { bytes: 40, packed: 0, major: 8, minor: 16, patch: 24, preRelease: 32 } as const;

/** CIDR, 20 bytes: family u16 (4 or 6), prefixBits u16, address u8[16] (IPv4 in the first 4; host bits are 0). */
export const CIDR = { bytes: 20, family: 0, prefixBits: 2, address: 4 } as const;

/** HASH_PREFIX, 16 bytes: murmur3 after the whole words of the prefix, its last 0-3 bytes, how many they are, length in bytes. */
export const HASH_PREFIX = { bytes: 16, state: 0, tail: 4, tailBytes: 8, length: 12 } as const;

/**
 * ROLLOUT, 56 bytes and the weights.
 *   0 u32 slot (slot ref of what is bucketed by)   4 u32 bits (ROLLOUT_BIT)
 *   8 HASH_PREFIX salt or seed with its dot        24 HASH_PREFIX "layer:<key>."
 *  40 u32 layerFrom  44 u32 layerTo                48 u32 weightCount   52 u32 reserved
 *  56 weightCount x {upTo u32: running sum, variation u32}
 * In a segment rule: one weight, in the segment when bucket < upTo.
 */
export const ROLLOUT = {
  bytes: 56,
  slot: 0,
  bits: 4,
  salt: 8,
  layerSalt: 24,
  layerFrom: 40,
  layerTo: 44,
  weightCount: 48,
  weights: 56,
} as const;
/** targetingKey: bucketed by the targeting key, so a missing one at the fallthrough is ERROR/TARGETING_KEY_MISSING. */
export const ROLLOUT_BIT = { targetingKey: 1, layer: 2, experiment: 4 } as const;
export const WEIGHT = { bytes: 8, upTo: 0, variation: 4 } as const;

/**
 * SEGMENT block. Its refs: slotRefCount slots, segmentRefCount segments.
 *   0 u32 magic "SEGM"  4 u32 totalBytes  8 u32 bits (1 = unserved)  12 u32 rules  16 u32 ruleCount -> SEGMENT_RULE
 *  20 u32 slotRefCount  24 u32 segmentRefCount  28 u32 patterns  32 u32 patternCount  36 u32 reserved
 */
export const SEGMENT = {
  bytes: 40,
  magic: 0,
  totalBytes: 4,
  bits: 8,
  rules: 12,
  ruleCount: 16,
  slotRefCount: 20,
  segmentRefCount: 24,
  patterns: 28,
  patternCount: 32,
} as const;
export const SEGMENT_MAGIC = 0x4d474553;
export const SEGMENT_BIT = { unserved: 1 } as const;
/** SEGMENT_RULE, 12 bytes: nodes u32, nodeCount u16, entry u16, rollout u32 (0 = none). */
export const SEGMENT_RULE = { bytes: 12, nodes: 0, nodeCount: 4, entry: 6, rollout: 8 } as const;

/**
 * KEYS block: magic "KEYS", totalBytes, keyCount, tableCount (power of two > keyCount), then tableCount x KEY_ENTRY {hash u32, offset
 * u32; offset 0 = empty} with linear probing from the low bits of the hash; at the offset a u16 length and the key.
 */
export const KEYS = { bytes: 16, magic: 0, totalBytes: 4, keyCount: 8, tableCount: 12, table: 16 } as const;
export const KEYS_MAGIC = 0x5359454b;
export const KEY_ENTRY = { bytes: 8, hash: 0, offset: 4 } as const;

/** The kernel copies in steps of 16 bytes and may read so far past the end of any allocation. */
export const COPY_SLACK_BYTES = 32;

/** Everything the kernel has to agree on, in the order it is generated. */
export const LAYOUT_TABLES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  ROOT,
  BLOCK_ENTRY,
  FLAG_ENTRY,
  SLOT,
  SLOT_TYPE,
  SEGMENT_ENTRY,
  LIST,
  CHUNK,
  FLAG,
  FLAG_BIT,
  FRAGMENT,
  MEMBERS,
  TARGET,
  RULE,
  NODE,
  NODE_BIT,
  OUTCOME,
  OP,
  SHORT_PAIR,
  IN,
  STRING_SET,
  STRING_ENTRY,
  TEXT,
  SEMVER,
  CIDR,
  HASH_PREFIX,
  ROLLOUT,
  ROLLOUT_BIT,
  WEIGHT,
  SEGMENT,
  SEGMENT_BIT,
  SEGMENT_RULE,
  KEYS,
  KEY_ENTRY,
  ...THREAD_TABLES,
};
/** Tables of codes and bits; the others hold offsets and sizes. */
export const CODE_TABLES: ReadonlySet<string> = new Set([
  'SLOT_TYPE',
  'FLAG_BIT',
  'NODE_BIT',
  'OUTCOME',
  'OP',
  'ROLLOUT_BIT',
  'SEGMENT_BIT',
  ...THREAD_CODE_TABLES,
]);

/** Includes the limits that the kernel applies itself. */
export const LAYOUT_NUMBERS: Readonly<Record<string, number>> = {
  SNAPSHOT_FORMAT_VERSION,
  NONE,
  IS_KIND,
  PREREQUISITE_REF_WORDS,
  ALWAYS,
  NEVER,
  OP_ONE_LAST,
  CONTEXT_BYTES_MAX: LIMITS.contextBytes,
  CONTEXT_DEPTH_MAX: LIMITS.contextDepth,
  CONTEXT_ATTRIBUTES_MAX: LIMITS.contextAttributes,
  REFERENCE_DEPTH_MAX: LIMITS.referenceDepth,
  REGEX_INPUT_BYTES_MAX: LIMITS.regexInputBytes,
  EVALUATIONS_MAX: REQUEST_LIMITS.evaluationsPerRequest,
  FLAG_FUEL,
  REGEX_FUEL,
  REQUEST_FUEL: REQUEST_LIMITS.fuelPerRequest,
};

function hashLayout(): number {
  const text = JSON.stringify([LAYOUT_TABLES, LAYOUT_NUMBERS]);
  return createHash('sha256').update(text).digest().readUInt32LE(0);
}

/** First 32 bits of SHA-256 over the tables above. The kernel exports the one it was built with; the host compares. */
export const LAYOUT_HASH: number = hashLayout();

assert(ROOT.bytes % 8 === 0 && ROOT.revision % 8 === 0, 'u64 fields of the root are aligned');
assert(RULE.nodes === SEGMENT_RULE.nodes && RULE.entry === SEGMENT_RULE.entry, 'rules begin alike');
assert(ROLLOUT.weights === ROLLOUT.bytes && KEYS.table === KEYS.bytes, 'records follow their header');
