import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { Piscina } from 'piscina';
import type {
  CompileAnswer,
  CompileRequest,
  ExplainAnswer,
  ExplainRequest,
  ReplayAnswer,
  ReplayRequest,
  TryAnswer,
  WorkerAnswer,
  WorkerTask,
} from './compile-task.js';
import { packBytes, unpackBytes } from './packed-bytes.js';
import { WORKER_FLAGS } from './worker-flags.js';

export interface CompilePoolOptions {
  /** Worker threads; the serving thread keeps a core for itself. */
  readonly threadCount?: number;
  /** Tasks that wait in front of one thread; one more is refused with `overloaded`. */
  readonly queueCountMax?: number;
  /** Of one task, once it runs. A worker that is over it is ended and replaced. */
  readonly deadlineMs?: number;
  /** What one worker remembers of environments, approximately. */
  readonly stateBytesMax?: number;
  /** False: threads start with the first compile, for a process that may never have one. */
  readonly isWarm?: boolean;
  /** The worker's JavaScript heap: a definition that explodes ends the worker, not the process. */
  readonly workerHeapMegabytesMax?: number;
}

const DEFAULTS = {
  threadCount: Math.max(1, availableParallelism() - 1),
  queueCountMax: 256,
  deadlineMs: 30_000,
  stateBytesMax: 512 * 1024 * 1024,
  isWarm: true,
  workerHeapMegabytesMax: 2_048,
} as const;

/** Explanations and replays of one environment that wait or run; one more is refused, so that one caller cannot fill the lane of all (I25). */
const EXPLAIN_COUNT_MAX = 8;

/** One thread and the tasks that run in it or wait for it. */
interface Lane {
  readonly piscina: Piscina<WorkerTask, WorkerAnswer>;
  taskCount: number;
  /** Settles when the last task taken has ended. */
  tail: Promise<unknown>;
  /** Changes to be tried that wait for the batch under way; they count as tasks. */
  readonly tries: PendingTry[];
  isTrying: boolean;
}

interface PendingTry {
  readonly request: CompileRequest;
  readonly resolve: (answer: TryAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** Changes that travel to a worker together. Few, so that while it tries some the serving thread works on others, instead of each waiting for the other. */
const TRIES_PER_BATCH_MAX = 6;

/**
 * Compiles, verifies and smoke-tests snapshots, and explains evaluations, off the serving thread. The only place that names Piscina.
 *
 * An environment belongs to one lane of compiles, a lane is one thread: the state that makes a change cheap is where the change goes. A worker that
 * crashes or overruns is replaced; what it remembered is gone and the next request is answered `needs-all`.
 */
export class CompilePool {
  /** Undefined until it is needed. */
  readonly #lanes: (Lane | undefined)[];
  readonly #deadlineMs: number;
  readonly #queueCountMax: number;
  readonly #newLane: () => Lane;
  /** Made for the first explanation: who never explains has no thread for it. Never in the way of a compile. */
  #explainLane: Lane | undefined;
  /** By tenant and environment. */
  readonly #explainCounts = new Map<string, number>();
  #compiledCount = 0;
  #isClosed = false;

  constructor(options: CompilePoolOptions = {}) {
    const { threadCount, queueCountMax, deadlineMs, stateBytesMax, isWarm, workerHeapMegabytesMax } = {
      ...DEFAULTS,
      ...options,
    };
    this.#deadlineMs = deadlineMs;
    this.#queueCountMax = queueCountMax;
    this.#newLane = () => ({
      taskCount: 0,
      tail: Promise.resolve(),
      tries: [],
      isTrying: false,
      piscina: new Piscina<WorkerTask, WorkerAnswer>({
        filename: new URL('./compile-worker.js', import.meta.url).href,
        execArgv: [...WORKER_FLAGS],
        minThreads: 1,
        maxThreads: 1,
        workerData: { stateBytesMax },
        resourceLimits: { maxOldGenerationSizeMb: workerHeapMegabytesMax },
      }),
    });
    this.#lanes = Array.from({ length: threadCount }, () => (isWarm ? this.#newLane() : undefined));
  }

  /** Definitions that compile() has compiled so far: what it takes from a base does not count. */
  get compiledCount(): number {
    return this.#compiledCount;
  }

  /** Compiles waiting, over all lanes. */
  get queueCount(): number {
    const waiting = (lane: Lane | undefined) => Math.max(0, (lane?.taskCount ?? 0) - 1) + (lane?.tries.length ?? 0);
    return this.#lanes.reduce((sum, lane) => sum + waiting(lane), 0);
  }

  /**
   * Throws `overloaded` when the queue is full, `timeout` past the deadline, `internal` when the worker died of the task; what is wrong
   * with the definitions comes back as issues. The bytes of `changed` are copied, the caller keeps them.
   */
  async compile(request: CompileRequest): Promise<CompileAnswer> {
    const { changed, ...rest } = request;
    const packed = packBytes(changed);
    const lane = this.#laneOf(rest.environment);
    const answer = await this.#run(lane, { task: 'compile', request: rest, changed: packed }, packed.buffer);
    if (answer.status === 'overloaded') throw new PlatformError('overloaded', answer.detail);
    if (answer.status === 'explained' || answer.status === 'replayed' || answer.status === 'tried') {
      throw new Error('a worker answered another task');
    }
    if (answer.status !== 'compiled') return answer;
    const { blockIds, bytes, ...compiled } = answer;
    this.#compiledCount += compiled.compiledCount;
    const [root = new Uint8Array(), ...blocks] = unpackBytes(bytes);
    return {
      ...compiled,
      root,
      newBlocks: new Map(blockIds.map((id, index) => [id, blocks[index] ?? new Uint8Array()])),
    };
  }

  /**
   * Finds out whether `compile` would take a change, which costs what the change reaches. What passes is a base of later tries, not of compiles.
   * Throws as `compile` does. Many at a time travel together; one that ends the worker does not take the others with it.
   */
  tryChange(request: CompileRequest): Promise<TryAnswer> {
    const lane = this.#laneOf(request.environment);
    return new Promise((resolve, reject) => {
      if (this.#isClosed || lane === undefined) throw new PlatformError('overloaded', 'the compile pool is closed');
      if (lane.taskCount + lane.tries.length > this.#queueCountMax) {
        throw new PlatformError('overloaded', 'the compile queue is full');
      }
      lane.tries.push({ request, resolve, reject });
      if (!lane.isTrying) void this.#runTries(lane);
    });
  }

  /** Never rejects. */
  async #runTries(lane: Lane): Promise<void> {
    lane.isTrying = true;
    // What is asked for in the same turn of the event loop travels together: waking a thread costs more than most tries.
    await setImmediate();
    while (lane.tries.length > 0) await this.#runBatch(lane, lane.tries.splice(0, TRIES_PER_BATCH_MAX));
    lane.isTrying = false;
  }

  async #runBatch(lane: Lane, batch: readonly PendingTry[]): Promise<void> {
    const packed = packBytes(batch.flatMap(({ request }) => request.changed));
    const requests = batch.map(({ request: { changed, ...rest } }) => ({ ...rest, changedCount: changed.length }));
    try {
      const answer = await this.#run(lane, { task: 'try', requests, changed: packed }, packed.buffer);
      if (answer.status !== 'tried') throw new Error('a worker answered another task');
      for (const [index, { resolve, reject }] of batch.entries()) {
        const own = answer.answers[index] ?? { status: 'overloaded', detail: 'a worker left out an answer' };
        if (own.status === 'overloaded') reject(new PlatformError('overloaded', own.detail));
        else resolve(own);
      }
    } catch (error) {
      // One of them ended the worker: each by itself, so that it is the only one to fail.
      if (batch.length > 1) for (const pending of batch) await this.#runBatch(lane, [pending]);
      else batch[0]?.reject(error);
    }
  }

  /** Throws as `compile` does, and `timeout` once `signal` says that nobody waits for the answer any more; then it stops. */
  async explain(request: ExplainRequest, signal?: AbortSignal): Promise<ExplainAnswer> {
    const { definitions, ...rest } = request;
    const packed = definitions === undefined ? undefined : packBytes(definitions);
    const task: WorkerTask = {
      task: 'explain',
      request: rest,
      ...(packed === undefined ? {} : { definitions: packed }),
    };
    const answer = await this.#runBeside(rest.environment, task, packed?.buffer, signal);
    if (answer.status === 'explained' || answer.status === 'needs-all' || answer.status === 'digest-mismatch') {
      return answer;
    }
    throw new Error('a worker answered another task');
  }

  /** Evaluates one context over past states. Throws as `explain` does; beside explanations, never in the way of a compile. */
  async replay({ steps, ...rest }: ReplayRequest): Promise<ReplayAnswer> {
    const changed = packBytes(steps.flatMap((step) => step.changed));
    const packedSteps = steps.map((step) => ({ changedCount: step.changed.length, removed: step.removed }));
    const task: WorkerTask = { task: 'replay', request: { ...rest, steps: packedSteps }, changed };
    const answer = await this.#runBeside(rest.environment, task, changed.buffer, undefined);
    if (answer.status === 'replayed') return answer;
    throw new Error('a worker answered another task');
  }

  async #runBeside(
    environment: EnvironmentRef,
    task: WorkerTask,
    transfer: ArrayBuffer | undefined,
    signal: AbortSignal | undefined,
  ): Promise<WorkerAnswer> {
    const key = environmentKey(environment);
    const count = this.#explainCounts.get(key) ?? 0;
    if (count >= EXPLAIN_COUNT_MAX) {
      throw new PlatformError('overloaded', 'too many explanations of this environment wait');
    }
    this.#explainCounts.set(key, count + 1);
    try {
      if (!this.#isClosed) this.#explainLane ??= this.#newLane();
      const answer = await this.#run(this.#explainLane, task, transfer, signal);
      if (answer.status === 'overloaded') throw new PlatformError('overloaded', answer.detail);
      return answer;
    } finally {
      const left = (this.#explainCounts.get(key) ?? 1) - 1;
      if (left === 0) this.#explainCounts.delete(key);
      else this.#explainCounts.set(key, left);
    }
  }

  /** Ends the workers; what runs is given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#lanes, this.#explainLane].map(async (lane) => lane?.piscina.destroy()));
  }

  #laneOf(environment: EnvironmentRef): Lane | undefined {
    const index = laneIndexOf(environment, this.#lanes.length);
    if (!this.#isClosed) this.#lanes[index] ??= this.#newLane();
    return this.#lanes[index];
  }

  async #run(
    lane: Lane | undefined,
    task: WorkerTask,
    transfer: ArrayBuffer | undefined,
    signal?: AbortSignal,
  ): Promise<WorkerAnswer> {
    if (this.#isClosed || lane === undefined) throw new PlatformError('overloaded', 'the compile pool is closed');
    // Counted here: Piscina's own bound lets a burst through (I25).
    if (lane.taskCount > this.#queueCountMax) throw new PlatformError('overloaded', 'the compile queue is full');
    lane.taskCount += 1;
    const answer = lane.tail.then(() => this.#runNow(lane, task, transfer, signal));
    lane.tail = answer.catch(() => undefined);
    try {
      return await answer;
    } finally {
      lane.taskCount -= 1;
    }
  }

  /** The deadline starts with the task, not while it waits: a task must not be ended for what one before it did. */
  async #runNow(
    lane: Lane,
    task: WorkerTask,
    transfer: ArrayBuffer | undefined,
    signal: AbortSignal | undefined,
  ): Promise<WorkerAnswer> {
    if (this.#isClosed) throw new PlatformError('overloaded', 'the compile pool is closed');
    if (isAborted(signal)) throw new PlatformError('timeout', 'nobody waits for the answer any more');
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), this.#deadlineMs);
    try {
      return await lane.piscina.run(task, {
        signal: signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, signal]),
        ...(transfer === undefined ? {} : { transferList: [transfer] }),
      });
    } catch (cause) {
      if (deadline.signal.aborted) throw new PlatformError('timeout', 'the compile took too long', { cause });
      if (isAborted(signal)) throw new PlatformError('timeout', 'nobody waits for the answer any more', { cause });
      if (this.#isClosed) throw new PlatformError('overloaded', 'the compile pool is closed', { cause });
      if (isShortage(cause)) throw new PlatformError('overloaded', 'a compile worker cannot be started', { cause });
      throw new PlatformError('internal', 'the compile worker failed', { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A function, since it changes while others run. */
const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

/** The process or the machine has no room for a thread; a worker that died of its task looks otherwise. */
function isShortage(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ERR_WORKER_INIT_FAILED' || code === 'EAGAIN' || code === 'ENOMEM' || code === 'EMFILE';
}

function laneIndexOf(environment: EnvironmentRef, laneCount: number): number {
  if (laneCount === 1) return 0;
  const hash = createHash('sha256').update(environmentKey(environment)).digest();
  return hash.readUInt32LE(0) % laneCount;
}

const environmentKey = ({ tenantId, environmentId }: EnvironmentRef): string => `${tenantId}/${environmentId}`;
