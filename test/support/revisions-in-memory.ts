import assert from 'node:assert/strict';
import {
  type CompiledSnapshot,
  compileSnapshot,
  type Definition,
  decodeStrictMsgpack,
  encodeMsgpack,
  type KernelAnswer,
  ReferenceEvaluation,
  type ResidentSnapshot,
  type SnapshotMemory,
} from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { aFlag, flagSetOf } from './flag-sets.js';
import { TEST_ENVIRONMENT } from './kernel-evaluator.js';

/** Revisions of one small environment, five flags of which stay and one of which changes, for tests of the memory they lie in. */
export const BATCH = { route: 'batch', now: 0, clientSideOnly: false } as const;

function compile(definitions: readonly Definition[], revision: number): CompiledSnapshot {
  const { compiled, issues } = compileSnapshot(flagSetOf(definitions), { environment: TEST_ENVIRONMENT, revision });
  assert(compiled !== undefined, JSON.stringify(issues));
  return compiled.snapshot;
}

/** The decoded answer; a copy. */
export function resultsOf(answer: KernelAnswer): unknown {
  assert(answer.status === 'ok', JSON.stringify(answer));
  const decoded = decodeStrictMsgpack(Uint8Array.from(answer.bytes));
  assert(decoded.ok, 'answers are well-formed');
  return decoded.value;
}

/** Flags whose answers differ from revision to revision, with patterns: they are read from the block. */
function flagsOf(revision: number): Definition[] {
  return Array.from({ length: 6 }, (_, index) =>
    aFlag(`f${index}`, {
      salt: `s${index < 5 ? 0 : revision}`,
      variations: [
        { key: 'no', value: `no-${index}` },
        { key: 'off', value: `off-${index}` },
        { key: 'yes', value: index < 5 ? 'yes' : `yes-${revision}` },
      ],
      rules: [
        {
          id: 'r',
          when: { attribute: 'mail', op: 'matches', values: [`^a.*${index < 5 ? '' : revision}@`, '[0-9]{3}'] },
          serve: { variation: 'yes' },
        },
      ],
    }),
  );
}

const CONTEXTS: Json[] = [
  { targetingKey: 'u1', mail: 'a1@x' },
  { targetingKey: 'u2', mail: 'b123' },
  { targetingKey: 'u3' },
];
const KEYS = ['f0', 'f5', 'none'];
export const BODY = encodeMsgpack({ contexts: CONTEXTS, flags: KEYS });

/** What the reference says to BODY. */
export function expectedOf(revision: number): unknown {
  const flagSet = flagSetOf(flagsOf(revision));
  const results = CONTEXTS.flatMap((context) => {
    const evaluation = new ReferenceEvaluation(flagSet, context, { now: 0 });
    return KEYS.map((key) => evaluation.evaluate(key));
  });
  return { revision, results };
}

const compiled = new Map<number, CompiledSnapshot>();

export function loadRevision(memory: SnapshotMemory, revision: number): Promise<ResidentSnapshot> {
  const snapshot = compiled.get(revision) ?? compile(flagsOf(revision), revision);
  compiled.set(revision, snapshot);
  return memory.load(snapshot);
}
