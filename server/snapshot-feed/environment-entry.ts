import { Backoff, type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { ConfigMessage, EnvironmentState, Signed } from '@guidon/protocol/signed-config';
import { compareOrder } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { ConfigSource } from './config-source.js';
import type { EnvironmentReducer } from './environment-reducer.js';
import type { Outcome } from './reducer-parts.js';
import { type Semaphore, SerialQueue } from './serial-queue.js';

/** Messages of one environment that wait for their turn; more are dropped and fetched instead. */
const QUEUE_COUNT_MAX = 64;
const RETRY = { firstMs: 500, maxMs: 8_000 } as const;

/** What made this node ask. */
interface FetchReason {
  readonly wanted?: EnvironmentState;
  readonly traceparent?: string | undefined;
}

/**
 * One environment's lane: everything that concerns it runs one after another, few environments at a time. What arrives by bus goes in
 * front of the reducer as it is; what the reducer asks for is fetched.
 */
export class EnvironmentEntry {
  readonly reducer: EnvironmentReducer;
  /** Nothing more is expected before it can answer: it serves, or what it should serve was refused. */
  isSettled = false;
  /** The source has no revision of it yet. */
  isEmpty = false;
  /** Polls in a row in which the control plane did not know it. */
  absentCount = 0;
  readonly #queue = new SerialQueue(QUEUE_COUNT_MAX);
  readonly #backoff = new Backoff(RETRY);
  readonly #source: ConfigSource;
  readonly #slices: Semaphore;
  readonly #logger: pino.Logger;
  readonly #onChange: (outcome: Outcome) => void;
  #isFetchingConfig = false;
  /** A message said so: what is lacking is not known. */
  #isFetchCertain = false;
  #isFetchingAccess = false;
  #retryAtMs = 0;

  constructor(
    reducer: EnvironmentReducer,
    parts: { source: ConfigSource; slices: Semaphore; logger: pino.Logger; onChange: (outcome: Outcome) => void },
  ) {
    this.reducer = reducer;
    this.#source = parts.source;
    this.#slices = parts.slices;
    this.#logger = parts.logger.child({ environment: reducer.environment });
    this.#onChange = parts.onChange;
  }

  get environment(): EnvironmentRef {
    return this.reducer.environment;
  }

  get slot(): EnvironmentSlot {
    return this.reducer.slot;
  }

  /** Reads the node's own disk. */
  async restore(): Promise<void> {
    await this.#run(async () => {
      if (await this.reducer.restore()) this.isSettled = true;
      return 'ignored';
    });
  }

  /** Reads what another process of this node wrote. */
  async follow(): Promise<Outcome> {
    return (await this.#run(() => this.reducer.follow())) ?? 'failed';
  }

  /** Makes what serves resident. When the disk does not have it, the control plane is asked for everything. */
  async load(): Promise<void> {
    if (await this.reducer.reload()) return;
    await this.#run(() => this.reducer.restoreServing());
  }

  /** Config from the bus. False: it was not taken, ask the source. */
  offerConfig(message: ConfigMessage): boolean {
    const outcome = this.#run(() => this.reducer.receive(message));
    if (outcome === undefined) return false;
    void outcome.then((result) => {
      if (result === 'fetch' || result === 'fetch-whole')
        this.#fetchConfig(result === 'fetch-whole', { traceparent: message.traceparent });
    });
    return true;
  }

  /** Asks the source for what it has under a signature that lasts, though it is nothing new. */
  renew(): void {
    this.#fetchConfig(false);
    void this.#run(async () => this.reducer.receiveAccess(await this.#source.fetchAccess(this.environment)));
  }

  offerAccess(signed: Signed): boolean {
    return this.#run(() => this.reducer.receiveAccess(signed)) !== undefined;
  }

  /** A request made the kernel trap on what serves here. */
  reportTrap(): void {
    void this.#run(async () => {
      await this.reducer.reportTrap();
      return 'ignored';
    });
  }

  /** Compares with what the source has, and fetches what is missing. True when this node has it all. */
  sync(state: EnvironmentState): boolean {
    this.isEmpty = state.revision === 0;
    if (this.isEmpty) this.isSettled = true;
    if (performance.now() >= this.#retryAtMs) {
      if (this.#wantsConfig(state)) this.#fetchConfig(false, { wanted: state });
      if (this.#wantsAccess(state)) this.#fetchAccess(state);
    }
    return !this.#isBehind(state);
  }

  #isBehind(state: EnvironmentState): boolean {
    return state.revision > 0 && compareOrder(state, this.reducer.standing) > 0;
  }

  #wantsConfig(state: EnvironmentState): boolean {
    return this.#isBehind(state) && !this.reducer.isQuarantined(state);
  }

  #wantsAccess({ epoch, accessSequence }: EnvironmentState): boolean {
    const { standing } = this.reducer;
    const isOther = accessSequence !== standing.accessSequence || epoch > standing.accessEpoch;
    return (isOther || this.slot.accessList === undefined) && accessSequence > 0;
  }

  /** What is under way has ended. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  /**
   * `wanted`: what the source has. When its turn comes, a message that waited before it may have brought that or shown that it is bad.
   * `traceparent`: of the message that said so.
   */
  #fetchConfig(isWhole: boolean, { wanted, traceparent }: FetchReason = {}): void {
    this.#isFetchCertain ||= wanted === undefined;
    if (this.#isFetchingConfig) return;
    this.#isFetchingConfig = true;
    const outcome = this.#run(async () => {
      const isCertain = this.#isFetchCertain;
      this.#isFetchCertain = false;
      if (!isCertain && wanted !== undefined && !this.#wantsConfig(wanted)) return 'ignored';
      const first = await this.#receiveFetched(isWhole ? 0 : this.reducer.standing.revision, traceparent);
      return first === 'fetch' || first === 'fetch-whole' ? this.#receiveFetched(0, traceparent) : first;
    });
    void Promise.resolve(outcome).then(() => {
      this.#isFetchingConfig = false;
    });
  }

  async #receiveFetched(since: number, traceparent: string | undefined): Promise<Outcome> {
    const message = await this.#source.fetchConfig(this.environment, since);
    return this.reducer.receive(traceparent === undefined ? message : { ...message, traceparent });
  }

  #fetchAccess(wanted: EnvironmentState): void {
    if (this.#isFetchingAccess) return;
    this.#isFetchingAccess = true;
    const outcome = this.#run(async () =>
      this.#wantsAccess(wanted)
        ? this.reducer.receiveAccess(await this.#source.fetchAccess(this.environment))
        : 'ignored',
    );
    void Promise.resolve(outcome).then(() => {
      this.#isFetchingAccess = false;
    });
  }

  /** Never rejects. Undefined when the queue is full. */
  #run(task: () => Promise<Outcome>): Promise<Outcome> | undefined {
    return this.#queue.run(async () => {
      const outcome = await this.#slices.run(task).catch((error: unknown): Outcome => {
        const level = error instanceof PlatformError && error.code === 'not-ready' ? 'warn' : 'error';
        this.#logger[level]({ err: error }, 'an environment could not be brought up to date');
        return 'failed';
      });
      if (outcome === 'failed') this.#retryAtMs = performance.now() + this.#backoff.failedMs();
      else this.#backoff.succeeded();
      if (outcome === 'refused' || this.slot.serving !== undefined) this.isSettled = true;
      this.#onChange(outcome);
      return outcome;
    });
  }
}
