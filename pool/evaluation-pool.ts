import { availableParallelism } from 'node:os';
import type { EvaluateOptions, KernelAnswer, KernelCall, ResidentSnapshot, SnapshotMemory } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import { EvaluationLane } from './evaluation-lane.js';
import { FairQueue } from './fair-queue.js';

export type DiscardReason = 'trapped' | 'overran';

export interface EvaluationPoolOptions {
  /** Worker threads; the serving thread keeps a core for itself. */
  readonly threadCount?: number;
  /** Requests and bytes of bodies that wait, in all and of one tenant; one more is refused with `overloaded`. */
  readonly queueCountMax?: number;
  readonly queueBytesMax?: number;
  readonly tenantQueueCountMax?: number;
  readonly tenantQueueBytesMax?: number;
  /**
   * Of one call, once it runs. The dearest operators that a request has fuel for take half a second (bench:loop, `texts`); only regular
   * expressions can take longer. A worker that is over it is ended and replaced.
   */
  readonly deadlineMs?: number;
  /** Told of each worker that was ended for what it did; the request is answered all the same. */
  readonly onDiscard?: (why: DiscardReason, cause: unknown) => void;
}

const DEFAULTS = {
  threadCount: Math.max(1, availableParallelism() - 1),
  queueCountMax: 256,
  queueBytesMax: 64 * 1024 * 1024,
  tenantQueueCountMax: 64,
  tenantQueueBytesMax: 16 * 1024 * 1024,
  deadlineMs: 2_000,
  onDiscard: () => undefined,
} as const;

/** Workers that replace discarded ones in one minute; further ones wait (I20). */
const REPLACEMENTS_PER_MINUTE_MAX = 60;
const MINUTE_MS = 60_000;

/** What a call runs on: the snapshot that serves when it starts, which a change may have replaced since the request came. */
export interface OpenedRequest {
  readonly resident: ResidentSnapshot;
  readonly options: EvaluateOptions;
}

/**
 * `cold`: `open` found no resident snapshot. `trapped`: the worker died of it. `overran`: even answering without evaluating took too long.
 * `bytes` of an answer are borrowed while `use` runs.
 */
export type PooledAnswer =
  | KernelAnswer
  | { readonly status: 'cold' }
  | { readonly status: 'trapped'; readonly cause: unknown }
  | { readonly status: 'overran' };

export interface PooledRequest<Value> {
  readonly tenantId: string;
  /** Borrowed until evaluate() returns. */
  readonly body: Uint8Array;
  /** Called whenever a call starts, once or a few times; throws to refuse the request. */
  readonly open: () => OpenedRequest | undefined;
  /** Called once, in the turn in which the answer is there. `copyBody` gives a copy of the body, while it runs. */
  readonly use: (answer: PooledAnswer, copyBody: () => Uint8Array) => Value;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal?: AbortSignal;
}

/**
 * A request from when it is taken until it is answered:
 *
 *   waiting --take()--> running --answered, trapped--> settled
 *   waiting --aborted, close()--> settled          running --overran--> running in another worker, with nothing to evaluate
 *   running --aborted--> running, and settled without its answer when its call ends: until then it takes a worker
 */
interface Job {
  readonly tenantId: string;
  /** Its own copy; of what never waited only after its worker was ended. */
  body: Uint8Array | undefined;
  readonly byteCount: number;
  readonly open: () => OpenedRequest | undefined;
  readonly settle: (answer: PooledAnswer, copyBody: () => Uint8Array) => void;
  readonly fail: (error: unknown) => void;
  /** Counted as waiting since then, `performance.now()`. */
  readonly takenAt: number;
  hasOverrun: boolean;
  isAborted: boolean;
  isSettled: boolean;
}

const nobodyWaits = (): PlatformError => new PlatformError('timeout', 'nobody waits for the answer any more');

/**
 * Evaluates what would block the serving thread, in workers on the same memory: the request is copied once into the worker's region and the
 * answer read from there; only numbers are sent. Waiting requests are taken from their tenants in turn. A worker that traps or overruns
 * its deadline is discarded: its thread is closed after its exit and another takes its place.
 */
export class EvaluationPool {
  /** Calls that ended, also badly; workers ended for what they did; requests refused because too many waited. */
  readonly counters = { runs: 0, waitedMs: 0, discarded: 0, refused: 0 };
  readonly #memory: SnapshotMemory;
  readonly #options: Required<EvaluationPoolOptions>;
  readonly #queue: FairQueue<Job>;
  /** Jobs that overran and only have to be answered, before any that waits. Each cost a worker, so they are few. */
  readonly #overrun: Job[] = [];
  readonly #idle: EvaluationLane[] = [];
  /** What each busy lane runs. */
  readonly #running = new Map<EvaluationLane, Job>();
  /** Lanes that start, without any work, and lanes that end. */
  readonly #starting = new Set<EvaluationLane>();
  readonly #ending = new Set<Promise<void>>();
  /** When lanes were replaced in the last minute, `performance.now()`, ascending. */
  #replacedAt: number[] = [];
  readonly #replacing = new Set<NodeJS.Timeout>();
  #isClosed = false;

  /** Starts its workers at once. The memory is the caller's thread's, and outlives the pool. */
  constructor(memory: SnapshotMemory, options: EvaluationPoolOptions = {}) {
    this.#memory = memory;
    this.#options = { ...DEFAULTS, ...options };
    const { queueCountMax, queueBytesMax, tenantQueueCountMax, tenantQueueBytesMax } = this.#options;
    this.#queue = new FairQueue({
      countMax: queueCountMax,
      bytesMax: queueBytesMax,
      tenantCountMax: tenantQueueCountMax,
      tenantBytesMax: tenantQueueBytesMax,
    });
    for (let count = 0; count < this.#options.threadCount; count += 1) this.#start();
  }

  /** Requests that wait for a worker. */
  get queueCount(): number {
    return this.#queue.count;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** Resolves when the workers there are have started. For tests and benches: requests wait by themselves. */
  async whenReady(): Promise<void> {
    while (this.#starting.size > 0 || this.#replacing.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /**
   * Resolves with what `use` made of the answer. Rejects with what `open` or `use` threw, `overloaded` when too many wait, the pool is
   * closed or its workers keep dying, and `timeout` when the signal aborts: at once while it waits, with the end of its call when it runs. So
   * whoever counts requests here counts what they take, and cannot be made to forget it by clients that leave (I17).
   */
  evaluate<Value>(request: PooledRequest<Value>): Promise<Value> {
    const { tenantId, body, open, use, signal } = request;
    return new Promise((resolve, reject) => {
      const settleOnce = (end: () => void): void => {
        if (job.isSettled) return;
        job.isSettled = true;
        signal?.removeEventListener('abort', abort);
        end();
      };
      const fail = (error: unknown): void => settleOnce(() => reject(error));
      const job: Job = {
        tenantId,
        body: undefined,
        byteCount: body.length,
        open,
        settle: (answer, copyBody) =>
          settleOnce(() => {
            try {
              if (job.isAborted) throw nobodyWaits();
              resolve(use(answer, copyBody));
            } catch (error) {
              reject(error);
            }
          }),
        fail,
        takenAt: performance.now(),
        hasOverrun: false,
        isAborted: false,
        isSettled: false,
      };
      const abort = (): void => {
        job.isAborted = true;
        if (this.#queue.delete(tenantId, job)) fail(nobodyWaits());
      };
      if (signal?.aborted === true) fail(nobodyWaits());
      else {
        signal?.addEventListener('abort', abort);
        this.#take(job, body);
      }
    });
  }

  /** Ends the workers; what waits or runs is refused. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#replacing) clearTimeout(timer);
    const closed = new PlatformError('overloaded', 'the evaluation pool is closed');
    for (let job = this.#next(); job !== undefined; job = this.#next()) job.fail(closed);
    const lanes = [...this.#idle, ...this.#running.keys(), ...this.#starting];
    for (const job of this.#running.values()) job.fail(closed);
    this.#idle.length = 0;
    this.#running.clear();
    this.#starting.clear();
    for (const lane of lanes) this.#end(lane);
    await Promise.all(this.#ending);
  }

  #take(job: Job, body: Uint8Array): void {
    const lane = this.#isClosed ? undefined : this.#idle.pop();
    if (lane !== undefined) {
      this.#run(lane, job, body);
      return;
    }
    const isDown = this.#running.size + this.#starting.size + this.#ending.size === 0;
    if (!this.#isClosed && !isDown && this.#queue.add(job.tenantId, job)) {
      job.body = Uint8Array.from(body);
      return;
    }
    this.counters.refused += 1;
    const detail = this.#isClosed || isDown ? 'the evaluation pool has no worker' : 'too many large requests wait';
    job.fail(new PlatformError('overloaded', detail));
  }

  #next(): Job | undefined {
    return this.#overrun.shift() ?? this.#queue.take();
  }

  /** Gives a lane that has nothing to do the next job. */
  #dispatch(lane: EvaluationLane): void {
    for (let job = this.#next(); job !== undefined; job = this.#next()) {
      const { body } = job;
      if (body !== undefined && !job.isAborted) {
        job.body = undefined;
        this.#run(lane, job, body);
        return;
      }
      job.fail(nobodyWaits());
    }
    this.#idle.push(lane);
  }

  #run(lane: EvaluationLane, job: Job, body: Uint8Array): void {
    if (!job.hasOverrun) this.counters.waitedMs += performance.now() - job.takenAt;
    this.#call(lane, job, body);
  }

  /** The lane's thread is outside a call. Without `body` it is the one that lies in the thread's region. */
  #call(lane: EvaluationLane, job: Job, body?: Uint8Array): void {
    const call = this.#open(lane, job, body);
    if (call === undefined) {
      this.#running.delete(lane);
      this.#dispatch(lane);
      return;
    }
    this.#running.set(lane, job);
    let overran: NodeJS.Immediate | undefined;
    const deadline = setTimeout(() => {
      // When it was this thread that was late, the result is there already.
      overran = setImmediate(() => this.#discard(lane, job, 'overran', undefined));
    }, this.#options.deadlineMs);
    const stopWatching = (): void => {
      clearTimeout(deadline);
      clearImmediate(overran);
    };
    lane.run(call).then(
      (result) => {
        stopWatching();
        this.#ended(lane, job, result);
      },
      (error: unknown) => {
        stopWatching();
        this.#discard(lane, job, 'trapped', error);
      },
    );
  }

  /** Undefined: it is settled without a call. */
  #open({ handle }: EvaluationLane, job: Job, body: Uint8Array | undefined): KernelCall | undefined {
    const memory = this.#memory;
    const copyBody = (): Uint8Array => (body === undefined ? memory.requestOf(handle) : Uint8Array.from(body));
    try {
      const opened = job.open();
      if (opened === undefined) {
        job.settle({ status: 'cold' }, copyBody);
        return undefined;
      }
      const { resident } = opened;
      const options = job.hasOverrun ? { ...opened.options, isGivenUp: true } : opened.options;
      const call =
        body === undefined
          ? memory.assignAgain(handle, resident, options)
          : memory.assign(handle, resident, body, options);
      if (!('status' in call)) return call;
      job.settle(call, copyBody);
    } catch (error) {
      job.fail(error);
    }
    return undefined;
  }

  #ended(lane: EvaluationLane, job: Job, result: number): void {
    if (this.#running.get(lane) !== job) return;
    const answer = this.#memory.settle(lane.handle, result);
    if (answer === undefined) {
      this.#call(lane, job);
      return;
    }
    this.counters.runs += 1;
    // Before the lane gets its next call: the answer and the body lie in its regions.
    job.settle(answer, () => this.#memory.requestOf(lane.handle));
    this.#running.delete(lane);
    this.#dispatch(lane);
  }

  /** The worker is never used again, whatever the request is answered. */
  #discard(lane: EvaluationLane, job: Job, why: DiscardReason, cause: unknown): void {
    if (this.#running.get(lane) !== job) return;
    this.#running.delete(lane);
    this.counters.runs += 1;
    this.counters.discarded += 1;
    this.#options.onDiscard(why, cause);
    const copyBody = (): Uint8Array => this.#memory.requestOf(lane.handle);
    if (why === 'trapped') job.settle({ status: 'trapped', cause }, copyBody);
    else if (job.hasOverrun) job.settle({ status: 'overran' }, copyBody);
    else if (job.isAborted) job.fail(nobodyWaits());
    else {
      job.hasOverrun = true;
      job.body = copyBody();
      this.#overrun.push(job);
    }
    this.#end(lane);
    this.#replace();
  }

  #end(lane: EvaluationLane): void {
    const ended = lane.end().finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }

  /** At once, or as soon as fewer have been replaced within a minute. */
  #replace(): void {
    const now = performance.now();
    this.#replacedAt = this.#replacedAt.filter((at) => at > now - MINUTE_MS);
    this.#replacedAt.push(now);
    const limiting = this.#replacedAt.at(-1 - REPLACEMENTS_PER_MINUTE_MAX);
    this.#startLater(limiting === undefined ? 0 : limiting + MINUTE_MS - now);
  }

  #startLater(delayMs: number): void {
    const timer = setTimeout(() => {
      this.#replacing.delete(timer);
      this.#start();
    }, delayMs);
    this.#replacing.add(timer);
  }

  #start(): void {
    let lane: EvaluationLane;
    try {
      lane = new EvaluationLane(this.#memory);
    } catch (error) {
      // No room for a thread or its regions: what waits is refused, and there may be room later.
      if (!(error instanceof PlatformError)) throw error;
      this.#startLater(MINUTE_MS / REPLACEMENTS_PER_MINUTE_MAX);
      return;
    }
    this.#starting.add(lane);
    lane.whenReady().then(
      () => {
        if (this.#starting.delete(lane)) this.#dispatch(lane);
      },
      (error: unknown) => {
        if (!this.#starting.delete(lane)) return;
        this.counters.discarded += 1;
        this.#options.onDiscard('trapped', error);
        this.#end(lane);
        this.#replace();
      },
    );
  }
}
