import assert from 'node:assert';
import type { ResidentSnapshot } from '@guidon/engine';
import { type EnvironmentRef, isSameEnvironment, REQUEST_LIMITS } from '@guidon/protocol';
import { comparePositions, type Position } from '@guidon/protocol/live-updates';
import type { AccessList } from '@guidon/protocol/signed-config';
import { MEDIA_TYPES } from './media-type.js';
import { AnswerHead } from './reply.js';

/** Callers that wait for a revision, per environment (I25). */
const WAITERS_COUNT_MAX = 256;

/** A revision that passed every check. */
export interface ServedRevision {
  readonly epoch: number;
  readonly revision: number;
  readonly digest: string;
}

/** What answers requests: immutable, replaced as a whole by one pointer swap (I9). */
export interface ActiveSnapshot extends ServedRevision {
  readonly environment: EnvironmentRef;
  readonly resident: ResidentSnapshot;
}

/** The headers that every evaluated answer of one revision shares, per format. */
export interface AnswerHeads {
  readonly msgpack: AnswerHead;
  readonly json: AnswerHead;
}

/** Rises with every use of any environment: the order in which they were used last. */
let useCount = 0;

/**
 * One environment on this node: the pointer that requests read and the reducer swaps. Made when the environment is first heard of,
 * so a credential's slot stays the same object for the life of the process. States:
 *
 *   empty     neither `serving` nor `active`: nothing has passed every check, 503 `not-ready`, never an empty 200 (I13)
 *   cold      `serving` alone: the snapshot lies on the node's disk; a request waits while it is loaded
 *   resident  both, of one revision: requests are answered from kernel memory
 *
 *   any --activate()--> resident     empty, cold --keepCold()--> cold     resident --evict()--> cold     any --clear()--> empty
 */
export class EnvironmentSlot {
  readonly environment: EnvironmentRef;
  /** Of `useCount`, when a request last used it. */
  usedAt = 0;
  #serving: ServedRevision | undefined;
  #active: ActiveSnapshot | undefined;
  accessList: AccessList | undefined;
  answerHeads: AnswerHeads = headsOf(0, undefined);
  trapCount = 0;
  /** How often the manifest of what serves was exchanged for a younger one of the same revision. */
  renewalCount = 0;
  /** `performance.now()` when the control plane last confirmed that this is the newest revision, or the slot was made. */
  confirmedAtMs: number;
  #ageSeconds: number | undefined;
  readonly #waiters = new Set<() => void>();
  readonly #watchers = new Set<() => void>();

  constructor(environment: EnvironmentRef, nowMs: number) {
    this.environment = environment;
    this.confirmedAtMs = nowMs;
  }

  /** The revision that requests are answered from, resident or not. */
  get serving(): ServedRevision | undefined {
    return this.#serving;
  }

  get active(): ActiveSnapshot | undefined {
    return this.#active;
  }

  /** The pointer swap. Requests that run finish on the old snapshot; the caller releases it afterwards. */
  activate(snapshot: ActiveSnapshot): void {
    assert(isSameEnvironment(snapshot.environment, this.environment), 'a snapshot goes into its own slot (I16)');
    this.#active = snapshot;
    this.#serve(snapshot);
  }

  /** The disk has this revision, kernel memory has none. */
  keepCold(revision: ServedRevision): void {
    assert(this.#active === undefined, 'what is resident is replaced by what is resident');
    this.#serve(revision);
  }

  /** The caller releases what was resident. */
  evict(): void {
    assert(this.#active !== undefined, 'only what is resident is evicted');
    const { epoch, revision, digest } = this.#active;
    this.#serving = { epoch, revision, digest };
    this.#active = undefined;
  }

  /** The caller releases what was resident. */
  clear(): void {
    this.#serving = undefined;
    this.#active = undefined;
    for (const changed of this.#watchers) changed();
  }

  /** Calls `changed` whenever another revision serves or none does, inside the swap: it looks later. Answers how to stop it. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  /** A request uses it now. */
  touch(): void {
    useCount += 1;
    this.usedAt = useCount;
  }

  #serve(revision: ServedRevision): void {
    this.#serving = revision;
    this.answerHeads = headsOf(revision.revision, this.#ageSeconds);
    for (const wake of this.#waiters) wake();
    for (const changed of this.#watchers) changed();
  }

  /** Shows `X-Config-Age` once the config has not been confirmed for longer than `staleAfterMs`. */
  markAge(nowMs: number, staleAfterMs: number): void {
    const ageMs = nowMs - this.confirmedAtMs;
    const ageSeconds = ageMs > staleAfterMs ? Math.floor(ageMs / 1000) : undefined;
    if (ageSeconds === this.#ageSeconds) return;
    this.#ageSeconds = ageSeconds;
    this.answerHeads = headsOf(this.#serving?.revision ?? 0, ageSeconds);
  }

  /** True once `revision` serves, false after the wait limit of the protocol or when too many wait already. */
  waitForRevision(revision: number): Promise<boolean> {
    return this.#waitUntil((serving) => serving.revision >= revision);
  }

  /** As waitForRevision, for a place in the order of epochs and revisions. */
  waitForPosition(position: Position): Promise<boolean> {
    return this.#waitUntil((serving) => comparePositions(serving, position) >= 0);
  }

  #waitUntil(isThere: (serving: ServedRevision) => boolean): Promise<boolean> {
    const hasArrived = (): boolean => this.#serving !== undefined && isThere(this.#serving);
    if (hasArrived()) return Promise.resolve(true);
    if (this.#waiters.size >= WAITERS_COUNT_MAX) return Promise.resolve(false);
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        resolve(hasArrived());
      };
      const wake = (): void => {
        if (hasArrived()) finish();
      };
      const timer = setTimeout(finish, REQUEST_LIMITS.minRevisionWaitMs);
      this.#waiters.add(wake);
    });
  }
}

function headsOf(revision: number, ageSeconds: number | undefined): AnswerHeads {
  const lines = [
    'Cache-Control: private, no-store',
    `X-Guidon-Revision: ${revision}`,
    ...(ageSeconds === undefined ? [] : [`X-Config-Age: ${ageSeconds}`]),
  ];
  return { msgpack: new AnswerHead(MEDIA_TYPES.msgpack, lines), json: new AnswerHead(MEDIA_TYPES.json, lines) };
}
