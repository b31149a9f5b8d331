export { type CompiledEnvironment, type CompiledSnapshot, compileSnapshot } from './compile/compile-snapshot.js';
export type { BlockId } from './compile/compiled-unit.js';
export { encodeMsgpack } from './compile/encode-msgpack.js';
export { environmentTag } from './compile/environment-tag.js';
export { hashTableOf } from './compile/hash-table.js';
export { LAYOUT_HASH, SNAPSHOT_FORMAT_VERSION } from './compile/layout.js';
export { verifySnapshot } from './compile/verify-snapshot.js';
export { parseAttributePath } from './evaluate/attribute-path.js';
export { bucketOf, hashText, murmur3 } from './evaluate/bucket.js';
export { checkContextLimits, targetingKeysOf } from './evaluate/context.js';
export type * from './evaluate/explanation.js';
export { type EvaluationOptions, ReferenceEvaluation } from './evaluate/reference-evaluation.js';
export { type CompiledPattern, compilePattern, cutRegexInput } from './evaluate/regex.js';
export { checkFlagSet, findDanglingReferences } from './flag-model/check-flag-set.js';
export * from './flag-model/definitions.js';
export { decodeDefinition, encodeDefinition } from './flag-model/encode-definition.js';
export type { Parsed } from './flag-model/input.js';
export {
  parseDefinition,
  parseFlagDefinition,
  parseSegmentDefinition,
  parseSegmentKeysDefinition,
  parseSegmentRules,
  parseTargetingKeys,
} from './flag-model/parse-definition.js';
export { type NamedRule, parseTargeting, type Targeting } from './flag-model/parse-targeting.js';
export { parseVariations } from './flag-model/parse-variations.js';
export * from './flag-model/result.js';
export {
  addSegmentKeys,
  chunkSegmentKeys,
  isInChunk,
  removeSegmentKeys,
  type SegmentKeyList,
  type SegmentKeysChange,
} from './flag-model/segment-keys.js';
export { type SegmentReference, segmentReferencesOf } from './flag-model/segment-references.js';
export { compareUtf8, isScalarText, toScalarText, utf8Bytes } from './flag-model/text.js';
export { InProcessEvaluator } from './in-process/in-process-evaluator.js';
export { type Decoded, decodeStrictMsgpack } from './wasm-host/decode-strict-msgpack.js';
export { encodeJsonRequest } from './wasm-host/encode-json-request.js';
export type { CostlyAnswer, KernelAnswer, KernelRefusal } from './wasm-host/kernel-answer.js';
export { KernelHost } from './wasm-host/kernel-host.js';
export { type KernelCall, KernelThread, type ThreadHandle } from './wasm-host/kernel-thread.js';
export type { ResidentSnapshot } from './wasm-host/load-snapshot.js';
export {
  type BodyFormat,
  type EvaluateOptions,
  SnapshotMemory,
  type SnapshotMemoryOptions,
} from './wasm-host/snapshot-memory.js';
export type { FlagUsage, RevisionUsage, UsageError } from './wasm-host/usage-totals.js';
