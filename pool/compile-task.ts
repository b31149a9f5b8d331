import type { EnvironmentRef, Issue } from '@guidon/protocol';

/** [kind, key] of a definition (`definitionKey`). */
export type DefinitionName = readonly [kind: string, key: string];

/** A definition as a worker found it: its name and the SHA-256 of its bytes, hex. */
export type DefinitionEntry = readonly [kind: string, key: string, hash: string];

/**
 * `base` names the state that `changed` and `removed` apply to: the digest of its definitions. Absent, `changed` is everything. The
 * digest names content, so a worker that has another history of the same content is just as good.
 */
export interface CompileRequest {
  readonly environment: EnvironmentRef;
  readonly revision: number;
  readonly base?: string;
  readonly changed: readonly Uint8Array[];
  readonly removed: readonly DefinitionName[];
  /** The digest that the manifest names. Another one after applying the change: nothing is compiled. */
  readonly expectedDigest?: string;
}

/** `needs-all`: no worker has the base any more, send everything without `base`. Nothing but `compiled` may be activated. */
export type CompileAnswer =
  | { readonly status: 'needs-all' }
  | { readonly status: 'digest-mismatch'; readonly digest: string }
  | { readonly status: 'refused'; readonly issues: readonly Issue[] }
  | CompiledAnswer;

export interface CompiledAnswer {
  readonly status: 'compiled';
  /** Digest of the definitions after the change; the `base` of the next request. */
  readonly digest: string;
  readonly root: Uint8Array;
  /** Definitions that were compiled; the others were taken from the base. */
  readonly compiledCount: number;
  /** There was no base: `newBlocks` is every block. */
  readonly isFull: boolean;
  readonly newBlocks: ReadonlyMap<string, Uint8Array>;
  /** Of the base, no longer referenced. */
  readonly droppedBlockIds: readonly string[];
  /** The changed definitions, in the order sent. */
  readonly entries: readonly DefinitionEntry[];
}

/** Of CompilePool.tryChange: `passed` where `compile` would answer `compiled`. */
export type TryAnswer = Exclude<CompileAnswer, CompiledAnswer> | { readonly status: 'passed' };

/** A request to try whose changed definitions are the next `changedCount` of those that travel packed. */
export type PackedTry = Omit<CompileRequest, 'changed'> & { readonly changedCount: number };

export interface ExplainRequest {
  readonly environment: EnvironmentRef;
  /** Digest of the definitions in force. */
  readonly base: string;
  readonly flag: string;
  /** The context as JSON text. */
  readonly context: string;
  readonly now: number;
  /** Everything, for a worker that lacks the base. */
  readonly definitions?: readonly Uint8Array[];
}

/** `digest-mismatch`: the definitions sent are not those of the base. */
export type ExplainAnswer =
  | { readonly status: 'needs-all' }
  | { readonly status: 'digest-mismatch'; readonly digest: string }
  | { readonly status: 'explained'; readonly explanation: string };

/**
 * Evaluations of one context over a line of states, the first made from nothing, each other from the one before. The states are small: what the
 * flags depend on. Nothing of it is remembered.
 */
export interface ReplayRequest {
  readonly environment: EnvironmentRef;
  /** The context as JSON text. */
  readonly context: string;
  readonly flags: readonly string[];
  /** Answer explanations instead of results. */
  readonly isExplained: boolean;
  /** Epoch milliseconds: what `@now` stands for. */
  readonly now: number;
  readonly steps: readonly ReplayStep[];
}

export interface ReplayStep {
  readonly changed: readonly Uint8Array[];
  readonly removed: readonly DefinitionName[];
}

export interface ReplayAnswer {
  readonly status: 'replayed';
  /** JSON text: per step an array with the result, or explanation, of each flag. */
  readonly steps: string;
}

/** A step whose changed definitions are the next `changedCount` of those that travel packed. */
export interface PackedStep {
  readonly changedCount: number;
  readonly removed: readonly DefinitionName[];
}

/** What crosses the thread border. Byte arrays travel packed into one transferred buffer (see packed-bytes.ts). */
export type WorkerTask =
  | { readonly task: 'compile'; readonly request: Omit<CompileRequest, 'changed'>; readonly changed: PackedBytes }
  | { readonly task: 'try'; readonly requests: readonly PackedTry[]; readonly changed: PackedBytes }
  | {
      readonly task: 'explain';
      readonly request: Omit<ExplainRequest, 'definitions'>;
      readonly definitions?: PackedBytes;
    }
  | {
      readonly task: 'replay';
      readonly request: Omit<ReplayRequest, 'steps'> & { readonly steps: readonly PackedStep[] };
      readonly changed: PackedBytes;
    };

export type WorkerAnswer =
  | Exclude<CompileAnswer, CompiledAnswer>
  | (Omit<CompiledAnswer, 'root' | 'newBlocks'> & { readonly blockIds: readonly string[]; readonly bytes: PackedBytes })
  | ExplainAnswer
  | ReplayAnswer
  /** One per request, in their order. */
  | { readonly status: 'tried'; readonly answers: readonly (TryAnswer | OverloadedAnswer)[] }
  | OverloadedAnswer;

/** The worker lacks memory: an error would lose its code on the way between threads. */
export interface OverloadedAnswer {
  readonly status: 'overloaded';
  readonly detail: string;
}

export interface PackedBytes {
  readonly buffer: ArrayBuffer;
  readonly lengths: readonly number[];
}
