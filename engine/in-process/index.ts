/** What evaluates without the kernel, for SDKs: no WASM, no compiler is loaded. */
export type * from '../evaluate/explanation.js';
export { type EvaluationOptions, ReferenceEvaluation } from '../evaluate/reference-evaluation.js';
export { checkFlagSet } from '../flag-model/check-flag-set.js';
export * from '../flag-model/definitions.js';
export { decodeDefinition, encodeDefinition } from '../flag-model/encode-definition.js';
export type { Parsed } from '../flag-model/input.js';
export { parseDefinition } from '../flag-model/parse-definition.js';
export * from '../flag-model/result.js';
export { segmentReferencesOf } from '../flag-model/segment-references.js';
export { InProcessEvaluator } from './in-process-evaluator.js';
