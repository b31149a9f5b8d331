import { setImmediate as nextTurn } from 'node:timers/promises';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { EnvironmentDigests, type EnvironmentState } from '@guidon/protocol/signed-config';
import type { Logger } from 'pino';
import type { CanaryReport, NodeDirectory } from '../nodes/node-directory.js';
import type { ControlStore } from '../store/control-store.js';
import { keys } from '../store/keys.js';

interface Position {
  readonly epoch: number;
  readonly revision: number;
}

/** One environment whose newest revision is not given to all nodes yet. */
interface Stage {
  /** What canaries are given. It stays until it is released or stopped, so that frequent changes go out in turn instead of never. */
  readonly candidate: Position;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly state: 'waiting' | 'running' | 'stopped';
  readonly reason: string;
  /** Share of errors in what each canary had answered with the revision before. */
  readonly errorShares: ReadonlyMap<string, number>;
}

/** A stage as people see it. */
export interface StageView extends Pick<Stage, 'state' | 'reason' | 'since'>, Position {
  readonly environmentId: string;
  readonly released: number;
  readonly newest: number;
}

/** Fewer errors say nothing about a revision … */
const ERROR_COUNT_MIN = 20;
/** … and of those that do, so many more in all answers than before stop it. */
const ERROR_SHARE_RISE_MAX = 0.05;

/**
 * Which revision nodes are given (docs/adr/0039). Without a time for canaries it is the newest. With one, each environment is at one of
 *
 *   released    everybody has the newest                                  a change -> waiting
 *   waiting     canaries are given the candidate, not all serve it yet    all live ones serve it -> running; refused, or errors rise -> stopped
 *   running     all live canaries serve it, since less than the time      the time is over -> released, or -> waiting with what is newest by then
 *   stopped     a canary refused it, or answers more errors with it       a newer revision -> waiting; an admin -> released
 *
 * Only time with all canaries well, or an admin, gets a revision from the canaries to the others. A raised epoch is for everybody at once: it is how a restore brings nodes back.
 */
export class ReleaseGate {
  readonly #newest = new EnvironmentDigests();
  /** What is said to canaries, and to the others; the newest, all three, without a time for canaries. */
  readonly #toCanaries: EnvironmentDigests;
  readonly #toOthers: EnvironmentDigests;
  readonly #canaryMs: number | undefined;
  readonly #nodes: NodeDirectory;
  readonly #store: ControlStore;
  readonly #logger: Logger;
  readonly #now: () => number;
  /** The rest only with a time for canaries. Of every environment. */
  readonly #states = new Map<string, EnvironmentState>();
  readonly #released = new Map<string, Position>();
  /** Of those that are not `released`. */
  readonly #stages = new Map<string, Stage>();
  /** Released, and not yet written down; what is lost of it goes through the canaries once more. */
  readonly #unwritten = new Set<string>();
  #looking: Promise<void> | undefined;
  #onRelease: (environment: EnvironmentRef) => void = () => undefined;

  private constructor(parts: ReleaseGateParts) {
    this.#canaryMs = parts.canaryMs;
    this.#nodes = parts.nodes;
    this.#store = parts.store;
    this.#logger = parts.logger;
    this.#now = parts.now;
    const isStaged = parts.canaryMs !== undefined;
    this.#toCanaries = isStaged ? new EnvironmentDigests() : this.#newest;
    this.#toOthers = isStaged ? new EnvironmentDigests() : this.#newest;
  }

  /** `states`: where every environment stands in the store. */
  static async open(states: readonly EnvironmentState[], parts: ReleaseGateParts): Promise<ReleaseGate> {
    const { store, canaryMs } = parts;
    const gate = new ReleaseGate(parts);
    const wasStaged = store.has(keys.canary());
    if (canaryMs !== undefined) {
      for (const state of states) {
        // Whatever was there before canaries were, everybody has.
        const released = wasStaged ? store.find<Position>(keys.released(state.environmentId)) : positionOf(state);
        if (released !== undefined) gate.#released.set(state.environmentId, released);
        if (!wasStaged) gate.#unwritten.add(state.environmentId);
      }
    }
    for (const state of states) gate.set(state);
    if (canaryMs !== undefined && !wasStaged) {
      await gate.#write();
      await store.transaction((transaction) => transaction.put(keys.canary(), { since: parts.now() }));
    } else if (canaryMs === undefined && wasStaged) {
      await store.transaction((transaction) => transaction.remove(keys.canary()));
    }
    return gate;
  }

  /** Told of each environment that others than canaries may have another revision of. */
  onRelease(listener: (environment: EnvironmentRef) => void): void {
    this.#onRelease = listener;
  }

  /** Where every environment stands in the store. */
  states(): readonly EnvironmentState[] {
    return this.#newest.states();
  }

  /** What a node is told. */
  digestsFor(isCanary: boolean): EnvironmentDigests {
    return isCanary ? this.#toCanaries : this.#toOthers;
  }

  /** The revision that a node is given; undefined: the newest. */
  revisionFor({ environmentId }: EnvironmentRef, isCanary: boolean): number | undefined {
    const stage = this.#stages.get(environmentId);
    if (stage === undefined) return undefined;
    return isCanary ? stage.candidate.revision : (this.#released.get(environmentId)?.revision ?? 0);
  }

  stages(): StageView[] {
    return [...this.#stages].map(([environmentId, { candidate, state, reason, since }]) => ({
      environmentId,
      ...candidate,
      state,
      reason,
      since,
      released: this.#released.get(environmentId)?.revision ?? 0,
      newest: this.#states.get(environmentId)?.revision ?? 0,
    }));
  }

  findStage(environmentId: string): StageView | undefined {
    return this.#stages.has(environmentId)
      ? this.stages().find((stage) => stage.environmentId === environmentId)
      : undefined;
  }

  /** After each commit, and for each environment at the start. */
  set(state: EnvironmentState): void {
    this.#newest.set(state);
    if (this.#canaryMs === undefined) return;
    const { environmentId } = state;
    this.#states.set(environmentId, state);
    const released = this.#released.get(environmentId);
    if (released !== undefined && state.epoch > released.epoch) this.#setReleased(environmentId, positionOf(state));
    else this.#stageNext(environmentId);
    this.#tell(environmentId);
  }

  delete(environmentId: string): void {
    this.#newest.delete(environmentId);
    this.#toCanaries.delete(environmentId);
    this.#toOthers.delete(environmentId);
    for (const known of [this.#states, this.#released, this.#stages]) known.delete(environmentId);
    if (this.#canaryMs !== undefined) this.#unwritten.add(environmentId);
  }

  /** Once a second: what canaries have said since, and what time it is. One at a time: whoever asks meanwhile is given the one that runs. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    let canariesOf = this.#nodes.canaryReports();
    let count = 0;
    // Those of now: what is staged meanwhile has the next look.
    const environmentIds = [...this.#stages.keys()];
    for (const environmentId of environmentIds) {
      count += 1;
      if (count % STAGES_PER_TURN === 0) {
        await nextTurn();
        canariesOf = this.#nodes.canaryReports();
      }
      const stage = this.#stages.get(environmentId);
      if (stage === undefined || stage.state === 'stopped') continue;
      const next = this.#judge(stage, canariesOf(environmentId));
      if (next === 'released') this.#release(environmentId, stage.candidate);
      else {
        this.#stages.set(environmentId, next);
        if (next.state === 'stopped') this.#stopped(environmentId, next);
      }
    }
    await this.#write();
  }

  /** A revision that not all nodes are given yet. Throws `not-found` for another one. */
  mustHold(environmentId: string, revision: number): Position & { readonly released: number } {
    const state = this.#states.get(environmentId);
    const released = this.#released.get(environmentId)?.revision ?? 0;
    if (state === undefined || !this.#stages.has(environmentId) || revision <= released || revision > state.revision) {
      throw new PlatformError('not-found', 'no such revision waits for canaries');
    }
    return { epoch: state.epoch, revision, released };
  }

  /** An admin has said that everybody gets it, whatever the canaries say. */
  releaseNow(environmentId: string, position: Position): void {
    const released = this.#released.get(environmentId);
    if (this.#stages.has(environmentId) && (released === undefined || compare(position, released) > 0)) {
      this.#release(environmentId, positionOf(position));
    }
  }

  #judge(stage: Stage, reports: readonly CanaryReport[]): Stage | 'released' {
    const { candidate, errorShares, since } = stage;
    const canaries = reports.filter(({ isLive }) => isLive);
    if (canaries.length === 0) return { ...stage, state: 'waiting', reason: 'no canary is live' };
    for (const canary of canaries) {
      const fault = faultOf(canary, candidate, errorShares.get(canary.nodeId) ?? 0);
      if (fault !== undefined) return { ...stage, state: 'stopped', reason: `${canary.nodeId}: ${fault}` };
    }
    const late = canaries.find((canary) => compare(canary, candidate) < 0);
    if (late !== undefined) return { ...stage, state: 'waiting', reason: `${late.nodeId} does not serve it yet` };
    const servedSince = Math.max(since, ...canaries.map(({ at }) => at));
    if (this.#now() - servedSince >= (this.#canaryMs ?? 0)) return 'released';
    return { ...stage, state: 'running', reason: `${canaries.length} canaries serve it` };
  }

  #stopped(environmentId: string, { candidate, reason }: Stage): void {
    this.#logger.error({ environmentId, revision: candidate.revision, reason }, 'a revision stops at the canaries');
    this.#stageNext(environmentId);
    this.#tell(environmentId);
  }

  #release(environmentId: string, position: Position): void {
    this.#setReleased(environmentId, position);
    this.#stageNext(environmentId);
    this.#tell(environmentId);
    const state = this.#states.get(environmentId);
    if (state !== undefined) this.#onRelease(state);
  }

  #setReleased(environmentId: string, position: Position): void {
    this.#released.set(environmentId, position);
    this.#stages.delete(environmentId);
    this.#unwritten.add(environmentId);
  }

  /** The newest becomes the candidate, unless there is one that is not decided yet, or nothing to decide. */
  #stageNext(environmentId: string): void {
    const state = this.#states.get(environmentId);
    if (state === undefined) return;
    const stage = this.#stages.get(environmentId);
    const released = this.#released.get(environmentId) ?? { epoch: state.epoch, revision: 0 };
    const decided = stage?.state === 'stopped' ? stage.candidate : released;
    if ((stage !== undefined && stage.state !== 'stopped') || compare(state, decided) <= 0) return;
    this.#stages.set(environmentId, {
      candidate: positionOf(state),
      since: this.#now(),
      state: 'waiting',
      reason: 'the canaries have not said anything of it yet',
      errorShares: new Map(
        this.#nodes
          .canaryReports()(environmentId)
          .map(({ nodeId, answers }) => [nodeId, errorShare(answers)]),
      ),
    });
  }

  #tell(environmentId: string): void {
    const state = this.#states.get(environmentId);
    if (state === undefined) return;
    const candidate = this.#stages.get(environmentId)?.candidate;
    const released = this.#released.get(environmentId) ?? { epoch: state.epoch, revision: 0 };
    this.#toCanaries.set({ ...state, ...candidate });
    this.#toOthers.set(candidate === undefined ? state : { ...state, ...released });
  }

  async #write(): Promise<void> {
    if (this.#unwritten.size === 0 || this.#store.failure !== undefined) return;
    const written = [...this.#unwritten].slice(0, ROWS_PER_TRANSACTION);
    try {
      await this.#store.transaction((transaction) => {
        for (const environmentId of written) {
          const released = this.#released.get(environmentId);
          const key = keys.released(environmentId);
          if (released === undefined) transaction.remove(key);
          else transaction.put(key, released);
        }
      });
    } catch (error) {
      this.#logger.warn({ err: error }, 'what was released was not written down');
      return;
    }
    for (const environmentId of written) this.#unwritten.delete(environmentId);
    if (this.#unwritten.size > 0) await this.#write();
  }
}

export interface ReleaseGateParts {
  /** How long canaries serve a revision before the others get it; undefined: all get it at once. */
  readonly canaryMs: number | undefined;
  readonly nodes: NodeDirectory;
  readonly store: ControlStore;
  readonly logger: Logger;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Requests of admins wait no longer than this many rows take. */
const ROWS_PER_TRANSACTION = 500;
/** Stages that are judged before requests have their turn again. */
const STAGES_PER_TURN = 200;

function faultOf(canary: CanaryReport, candidate: Position, shareBefore: number): string | undefined {
  const refused = canary.quarantined.find((each) => compare(each, candidate) === 0);
  if (refused !== undefined) return `refused: ${refused.reason}`;
  if (compare(canary, candidate) !== 0 || canary.answers.errors < ERROR_COUNT_MIN) return undefined;
  const share = errorShare(canary.answers);
  if (share - shareBefore <= ERROR_SHARE_RISE_MAX) return undefined;
  return `${percent(share)} of its answers are errors, ${percent(shareBefore)} before`;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;

const errorShare = ({ evaluations, errors }: CanaryReport['answers']): number =>
  evaluations === 0 ? 0 : errors / evaluations;

const positionOf = ({ epoch, revision }: Position): Position => ({ epoch, revision });

const compare = (a: Position, b: Position): number =>
  a.epoch === b.epoch ? a.revision - b.revision : a.epoch - b.epoch;
