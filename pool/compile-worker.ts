import { workerData } from 'node:worker_threads';
import { type CompiledEnvironment, ReferenceEvaluation } from '@guidon/engine';
import { deleteProto, PlatformError } from '@guidon/protocol';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { applyChange } from './apply-change.js';
import type {
  CompileRequest,
  DefinitionEntry,
  ExplainRequest,
  OverloadedAnswer,
  PackedTry,
  TryAnswer,
  WorkerAnswer,
  WorkerTask,
} from './compile-task.js';
import { compileWhole } from './compile-whole.js';
import { packBytes, unpackBytes } from './packed-bytes.js';
import { replay } from './replay.js';
import { SmokeKernel } from './smoke-evaluation.js';
import { TrialLines } from './trial-lines.js';
import { tryChange } from './try-change.js';
import { WorkerStates } from './worker-state.js';

/** The worker's side of CompilePool: one per thread, state in module scope lives and dies with the thread. */
deleteProto();
const states = new WorkerStates(stateBytesMaxFrom(workerData));
const lines = new TrialLines(stateBytesMaxFrom(workerData));
const smokeKernel = new SmokeKernel();

export default async function run(task: WorkerTask): Promise<unknown> {
  if (task.task === 'compile') {
    return transferred(await orOverloaded(() => compile(task.request, unpackBytes(task.changed))));
  }
  if (task.task === 'try') return { status: 'tried', answers: await tryAll(task.requests, unpackBytes(task.changed)) };
  if (task.task === 'replay') return replay(task.request, unpackBytes(task.changed));
  return explain(task.request, task.definitions === undefined ? undefined : unpackBytes(task.definitions));
}

async function orOverloaded<Answer>(work: () => Promise<Answer>): Promise<Answer | OverloadedAnswer> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PlatformError) || error.code !== 'overloaded') throw error;
    return { status: 'overloaded', detail: error.message };
  }
}

/** One after the other: each may be made on the one before it. */
async function tryAll(
  requests: readonly PackedTry[],
  changed: readonly Uint8Array[],
): Promise<(TryAnswer | OverloadedAnswer)[]> {
  const answers: (TryAnswer | OverloadedAnswer)[] = [];
  let from = 0;
  for (const { changedCount, ...request } of requests) {
    // A line keeps the bytes, which must not keep those of all the others.
    const own = changed.slice(from, from + changedCount).map((bytes) => bytes.slice());
    from += changedCount;
    answers.push(await orOverloaded(() => tryChange({ lines, kernel: smokeKernel }, request, own)));
  }
  return answers;
}

/** Tells Piscina to hand the packed bytes over instead of cloning them. */
function transferred(answer: WorkerAnswer): unknown {
  if (answer.status !== 'compiled') return answer;
  return move({ [transferableSymbol]: [answer.bytes.buffer], [valueSymbol]: answer });
}

async function compile(
  request: Omit<CompileRequest, 'changed'>,
  changed: readonly Uint8Array[],
): Promise<WorkerAnswer> {
  const { environment, base, removed, expectedDigest } = request;
  const from = base === undefined ? undefined : states.find(environment, base);
  // A state made to explain has nothing compiled to start from: the blocks that the caller holds would not be known here.
  if (base !== undefined && from?.compiled === undefined) return { status: 'needs-all' };
  const applied = applyChange(from, changed, removed);
  if ('issues' in applied) return { status: 'refused', issues: applied.issues };
  const { state, entries } = applied;
  if (expectedDigest !== undefined && state.digest !== expectedDigest) {
    return { status: 'digest-mismatch', digest: state.digest };
  }
  const { compiled, issues } = await compileWhole(smokeKernel, request, state, from);
  if (compiled === undefined) return { status: 'refused', issues };
  states.put(environment, { ...state, compiled }, from);
  return answerOf(state.digest, entries, compiled, from?.compiled);
}

function answerOf(
  digest: string,
  entries: readonly DefinitionEntry[],
  compiled: CompiledEnvironment,
  previous: CompiledEnvironment | undefined,
): WorkerAnswer {
  const known = previous?.snapshot.blocks;
  const blocks = compiled.snapshot.blocks;
  const blockIds = [...blocks.keys()].filter((id) => known?.has(id) !== true);
  const droppedBlockIds = [...(known?.keys() ?? [])].filter((id) => !blocks.has(id));
  const newBytes = blockIds.map((id) => blocks.get(id) ?? new Uint8Array());
  const bytes = packBytes([compiled.snapshot.root, ...newBytes]);
  return {
    status: 'compiled',
    digest,
    compiledCount: compiled.units.newCount,
    isFull: previous === undefined,
    entries,
    blockIds,
    droppedBlockIds,
    bytes,
  };
}

function explain(
  request: Omit<ExplainRequest, 'definitions'>,
  definitions: readonly Uint8Array[] | undefined,
): WorkerAnswer {
  const { environment, base, flag, context, now } = request;
  let state = states.find(environment, base);
  if (state === undefined) {
    if (definitions === undefined) return { status: 'needs-all' };
    const applied = applyChange(undefined, definitions, []);
    if ('issues' in applied) throw new Error('definitions in force do not parse');
    // The caller's revision may have changed between its request and its definitions: the answer would name the wrong one.
    if (applied.state.digest !== base) return { status: 'digest-mismatch', digest: applied.state.digest };
    state = applied.state;
    states.put(environment, state);
  }
  const evaluation = new ReferenceEvaluation(state.flagSet, JSON.parse(context), { now });
  return { status: 'explained', explanation: JSON.stringify(evaluation.explain(flag)) };
}

function stateBytesMaxFrom(data: unknown): number {
  if (typeof data === 'object' && data !== null && 'stateBytesMax' in data && typeof data.stateBytesMax === 'number') {
    return data.stateBytesMax;
  }
  throw new Error('the worker was started without stateBytesMax');
}
