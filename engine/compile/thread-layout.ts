/**
 * Kernel memory that one thread may write. All mutable state of the kernel lies here, at an address that is an argument of every call:
 * `asc --sharedMemory` emits active data segments, so each new instance rewrites the statics and a mutable global would be lost.
 *
 * region        who writes            until when valid
 * statics       the instantiation     for ever, constant
 * THREAD block  host and kernel       as noted per field
 * request       host                  one call; zeros behind a JSON body: the kernel
 * JSON msgpack  kernel                one call: the request, when it came as JSON, in msgpack
 * JSON large    kernel                one call: u32 addresses there of values longer in JSON than a context may be
 * key stack     kernel                one call: keys of the maps being read, 8 bytes each
 * key table     kernel                while one map's keys are compared
 * shapes        kernel, host          until the snapshots in memory change
 * slot states   kernel                one context (by stamp)
 * memos         kernel                one context (by stamp)
 * fold buffer   kernel                one context (by stamp)
 * answer        kernel                until the next call
 * usage log     kernel                one call: the counter of each result, u32
 * USAGE blocks  kernel                one a snapshot and thread; read by the host, which frees it after the last call on the snapshot
 * snapshots     host, while loading   until released
 */

/** THREAD block. Regions are set by the host whenever it moves them; those that are read before they are written are zeroed then. */
export const THREAD = {
  bytes: 448,
  /** Set by the host: where in its region the request of this call starts, as far from a multiple of 8 as in the caller's memory. */
  request: 0,
  requestRegion: 4,
  answer: 8,
  answerCapacity: 12,
  keyStack: 16,
  keyTable: 20,
  slotStates: 24,
  memos: 28,
  foldBuffer: 32,
  kinds: 36,
  /** Secret of this process, so that nobody can aim at collisions of the key table. u64. */
  seed: 40,
  /** f64 epoch ms of this call. */
  now: 48,
  /** Set by the kernel: what the host reads after a call. */
  evaluations: 60,
  errorOffset: 64,
  errorPlace: 68,
  errorIndex: 72,
  /** u64 */
  minRevision: 80,
  /** Kernel's own, one call: u32 stamp is never reset and marks what belongs to the context at hand. */
  stamp: 88,
  keyTop: 92,
  members: 96,
  depthMax: 100,
  kindCount: 104,
  options: 108,
  root: 112,
  blocks: 116,
  end: 120,
  cursor: 124,
  /** u64, what is left for the flag being evaluated. */
  fuel: 128,
  /** Which string the fold buffer holds: stamp, address, bytes folded. */
  foldStamp: 136,
  foldSource: 140,
  foldBytes: 144,
  contextState: 148,
  /** Address of the value of the context's member `kind`, 0 = absent. */
  kindAt: 152,
  /** Scratch of one clause: a SLOT_STATE for an element, a SEMVER, a number in decimals, an address in binary. */
  element: 160,
  version: 192,
  decimals: 232,
  address: 264,
  /** 1 while the context at hand is of kind `multi`. */
  multi: 288,
  /** Addresses of the values of the body's members, 0 = absent; unknown: of the first name that the protocol does not know. */
  bodyFlags: 292,
  bodyContext: 296,
  bodyMinRevision: 300,
  bodyFlagKey: 304,
  bodyUserId: 308,
  bodyRequests: 312,
  bodyContexts: 316,
  bodyUnknown: 320,
  /** The field of a member that is there in two spellings. */
  bodyTwice: 324,
  /** SHAPE table, set by the host. */
  shapes: 328,
  /** u64: what the evaluations of this call have used so far. */
  requestFuel: 336,
  /** u64: what has been asked may cost so much, and how much is admitted (admission.ts of the kernel). */
  cost: 344,
  costMax: 352,
  /** How many times a clause over the context at hand costs what it does over one short value. */
  weight: 360,
  /** Regions of JSON requests, set by the host; how many entries JSON large has; where the transcoding ends early; JSON_FAULT. */
  jsonMsgpack: 364,
  jsonLarge: 368,
  jsonLargeCount: 372,
  jsonStop: 376,
  jsonFault: 380,
  /** Address of the msgpack of this call: the request region or JSON msgpack; errorOffset counts from it unless jsonFault says more. */
  body: 384,
  /** USAGE block of this thread for the snapshot of the call, 0 = nobody counts; the usage log. Set by the host. */
  usage: 388,
  usageLog: 392,
  /** Entries of the usage log. */
  usageCount: 396,
} as const;

/**
 * USAGE: how often a thread answered what, one u32 per counter that wraps around. Words 0..4 are the errors 1..5 of flags that were not looked
 * up or are not there; then for each flag, in the order of the flag table, its errors 1..5 and its variations. Results of a call are
 * logged while they are written and counted when the whole call has succeeded, so a call that is asked again counts once.
 */
export const USAGE = { errorCount: 5, firstFlag: 5 } as const;

/**
 * SHAPE, 832 bytes: the names that the contexts of one kind had, member by member. Contexts that come from the same code have the same
 * names in the same places, so a name is compared with the one before instead of being hashed and looked up. Names that can be known
 * again differ from each other: a context that has no other ones has none twice. The host zeroes the table whenever the snapshots in memory change, for an address may then mean another root.
 *   0 u32 root   4 u32 kind (slot)   8 u32 end: address after the last name known   12 reserved
 *  16 SHAPE_NAME x SHAPE.nameCount by position, then one that stands for every place behind them and is never known
 */
export const SHAPE = { bytes: 832, root: 0, kind: 4, end: 8, names: 16, nameCount: 16, count: 32 } as const;
/**
 * SHAPE_NAME, 48 bytes.
 *   0 u8[32] head       the name with its one byte of header; what lies behind it is of no meaning
 *  32 u32    headBytes  bytes of both, 1-31; NONE = is never compared: a longer one, or another name of the shape has the same hash
 *  36 u32    nameBytes  of the name alone
 *  40 u32    slot       SLOT of the attribute, NONE = no flag asks for it, IS_KIND = the member `kind`
 *  44 u32    hash       nameHash(name)
 */
export const SHAPE_NAME = {
  bytes: 48,
  head: 0,
  headBytes: 32,
  nameBytes: 36,
  slot: 40,
  hash: 44,
  headBytesMax: 31,
} as const;
/** Stands for a slot where the member is the context's kind. */
export const IS_KIND = 0xfffffffe;

/** What a call is asked to do, in `options`. What is not said to be JSON is msgpack. */
export const CALL_OPTION = {
  batch: 1,
  clientSideOnly: 2,
  jsonRequest: 4,
  jsonAnswer: 8,
  /** Answers ERROR/GENERAL for each flag asked, without evaluating anything. */
  givenUp: 16,
} as const;

/**
 * SLOT_STATE, 32 bytes: one attribute of the context at hand.
 *   0 u32 stamp     valid when it is the context's
 *   4 u16 type      VALUE     6 u16 derived   DERIVED; the type is stored as a u32, so that a new value has nothing derived yet
 *   8 u32 address  12 u32 length              of a string, array or object; a boolean is its length
 *  16 f64 number   of a number; the packed version of a string
 *  24 u32 hash     murmur3 of a string        28 reserved
 */
export const SLOT_STATE = {
  bytes: 32,
  stamp: 0,
  type: 4,
  derived: 6,
  address: 8,
  length: 12,
  number: 16,
  hash: 24,
} as const;
export const DERIVED = { hash: 1, semverKnown: 2, semverPacked: 4 } as const;

/** Type of a value: strings by address and length, arrays and objects by the address of their first member and their count. */
export const VALUE = { missing: 0, boolean: 1, number: 2, string: 3, array: 4, object: 5 } as const;

/** MEMO, 16 bytes: the outcome of one flag for the context at hand. rule is an offset in its block, 0 = none; prerequisite index + 1. */
export const MEMO = {
  bytes: 16,
  stamp: 0,
  error: 4,
  reason: 5,
  variation: 6,
  experiment: 7,
  rule: 8,
  prerequisite: 12,
} as const;
export const REASON = { STATIC: 0, DEFAULT: 1, TARGETING_MATCH: 2, SPLIT: 3, DISABLED: 4 } as const;
export const ERROR = {
  NONE: 0,
  FLAG_NOT_FOUND: 1,
  PARSE_ERROR: 2,
  TARGETING_KEY_MISSING: 3,
  INVALID_CONTEXT: 4,
  GENERAL: 5,
} as const;

/** Outcome of a call. */
export const STATUS = {
  ok: 0,
  malformed: 1,
  invalid: 2,
  limit: 3,
  revisionBehind: 4,
  /** The answer region is too small: the host enlarges it and asks again. */
  answerFull: 5,
  /** Stamps are used up: the host zeroes slot states and memos, sets the stamp to 0 and asks again. */
  stampsUsed: 6,
  /** May cost more than the call admits: nothing of it is to be used. */
  costly: 7,
} as const;

/**
 * Why a JSON request is malformed, with errorOffset counted in the JSON: no JSON, too deep, too many members of one object; `reader`: its
 * msgpack was refused, so a string is no UTF-8 or a name stands twice.
 */
export const JSON_FAULT = { none: 0, syntax: 1, depth: 2, members: 3, reader: 4 } as const;

/** Where in the body an invalid value stands; errorIndex says which element. */
export const PLACE = {
  body: 0,
  unknownMember: 1,
  flags: 2,
  flagsElement: 3,
  context: 4,
  minRevision: 5,
  flagKey: 6,
  userId: 7,
  requests: 8,
  contexts: 9,
  /** What all evaluations of the request cost together. */
  evaluation: 10,
} as const;

/** State of the context at hand: usable, not an object or of an impossible kind, over a limit. */
export const CONTEXT_STATE = { valid: 0, invalid: 1, overLimit: 2 } as const;

/** Bounds of the kernel's msgpack reader, shared with decode-strict-msgpack.ts. */
export const MSGPACK = {
  depthMax: 64,
  /** Members of one map. */
  membersMax: 65_535,
  keyTableCount: 131_072,
  keyEntryBytes: 8,
  /** Kinds kept for the attribute `kind`; a context with more members than this is refused. */
  kindsMax: 512,
  foldBufferBytes: 65_536,
} as const;

export const THREAD_TABLES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  THREAD,
  USAGE,
  SHAPE,
  SHAPE_NAME,
  CALL_OPTION,
  SLOT_STATE,
  DERIVED,
  VALUE,
  MEMO,
  REASON,
  ERROR,
  STATUS,
  JSON_FAULT,
  PLACE,
  CONTEXT_STATE,
  MSGPACK,
};

export const THREAD_CODE_TABLES: readonly string[] = [
  'CALL_OPTION',
  'DERIVED',
  'VALUE',
  'REASON',
  'ERROR',
  'STATUS',
  'JSON_FAULT',
  'PLACE',
  'CONTEXT_STATE',
  'MSGPACK',
];
