import { PlatformError } from '@guidon/protocol';
import {
  comparePositions,
  type Position,
  positionText,
  STREAM_CLOSE,
  type StreamClose,
  type StreamFormat,
} from '@guidon/protocol/live-updates';
import type { ConfigBodies, ConfigFrame } from '../config/config-bodies.js';
import type { ConfigView } from '../config/config-view.js';
import type { ActiveSnapshot, EnvironmentSlot } from '../environment-slot.js';
import type { PooledEvaluation } from '../pooled-evaluation.js';
import type { QuotaLedger } from '../quota/quota-ledger.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';
import { AffectedFlags } from './affected-flags.js';
import type { FanOut, FanOutLine } from './fan-out.js';
import type { PutBudget } from './put-budget.js';
import type { Stream } from './stream.js';
import { revisionIn, SharedFlags } from './web-values.js';

export interface FanOutParts {
  readonly kernel: SnapshotKernel;
  readonly residency: SnapshotResidency;
  readonly evaluation: PooledEvaluation;
  readonly inlineCostMax: number;
  readonly ledger: QuotaLedger;
  readonly bodies: ConfigBodies;
  readonly fanOut: FanOut;
  readonly budget: PutBudget;
  readonly counters: { frames: number };
  /** Wall clock, milliseconds. */
  readonly now: () => number;
  /** Ends a stream and forgets it. */
  readonly end: (stream: Stream, close: StreamClose) => void;
  readonly onError: (error: unknown) => void;
}

/** After a failure that may pass: memory is full, the disk cannot be read. */
const RETRY_MS = 200;
/** Within it every client of OFREP is told of a change. */
const REFETCH_SPREAD_MS = 2_000;
/** A worker that was not done in time is a busy one, or the context is too dear: then the hub ends the stream after `waitingMs`. */
const OVERRUN_PAUSE_MS = 2_000;
/** Streams of one environment that are evaluated beside its line; the pool is everybody's. */
const ASIDE_MAX = 4;
/** setTimeout takes no longer time; an instant further away is looked at again then. */
const TIMER_MS_MAX = 3_600_000;

/** A larger frame is not kept beside the cache of all. */
const LAST_FRAME_BYTES_MAX = 64 * 1024;

/** A frame, and what it was made for. */
interface LastFrame {
  readonly since: Position;
  readonly format: StreamFormat;
  /** Of the manifest in it: another one for another revision, and for the same one signed again. */
  readonly signature: Uint8Array | undefined;
  readonly frame: ConfigFrame;
}

/** Sent, nothing to send, or a promise after which it has to be tried again. */
type Sent = 'done' | Promise<unknown>;

/**
 * The streams of one environment on this process, and their line for frames: who has been waiting longest is next; whoever already has a revision goes
 * before those who need everything. A `web` stream is evaluated when its turn comes, on what serves then.
 */
export class EnvironmentStreams implements FanOutLine {
  readonly slot: EnvironmentSlot;
  readonly streams = new Set<Stream>();
  readonly #view: () => ConfigView;
  readonly #parts: FanOutParts;
  /** Streams in mode `due`, by what they need. Sets keep the order of arrival. */
  readonly #updates = new Set<Stream>();
  readonly #newcomers = new Set<Stream>();
  /** Streams in mode `due` that a worker evaluates, or that wait to be tried again: out of the line, which goes on without them. */
  readonly #aside = new Map<Stream, { readonly isNewcomer: boolean }>();
  /** Those that wait for a place there, in order. */
  readonly #costly = new Set<Stream>();
  readonly #flags = new SharedFlags();
  readonly #affected: AffectedFlags;
  /** Sent last to a stream of definitions that had some. */
  #lastFrame: LastFrame | undefined;
  #isParked = false;
  /** Ascending, of what was evaluated last: when a clause on `@now` changes. */
  #instants: readonly number[] = [];
  #instantTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(slot: EnvironmentSlot, view: () => ConfigView, parts: FanOutParts) {
    this.slot = slot;
    this.#view = view;
    this.#parts = parts;
    this.#affected = new AffectedFlags(view, parts.onError);
  }

  get waitingCount(): number {
    return this.#updates.size + this.#newcomers.size + this.#aside.size + this.#costly.size;
  }

  /** Of them, the clients that have acknowledged at least this position. */
  countAt(position: Position): number {
    let count = 0;
    for (const { has } of this.streams) if (has !== undefined && comparePositions(has, position) >= 0) count += 1;
    return count;
  }

  /** Into the line: it has said hello, acknowledged while something is new, or something is new. */
  enqueue(stream: Stream, nowMs: number): void {
    stream.isStale = false;
    stream.move('due', nowMs);
    this.#joinLine(stream);
  }

  #joinLine(stream: Stream): void {
    this.#costly.delete(stream);
    const isUpdate = stream.values === undefined ? stream.has !== undefined : stream.values.isSent;
    (isUpdate ? this.#updates : this.#newcomers).add(stream);
    this.#schedule();
  }

  remove(stream: Stream): void {
    this.streams.delete(stream);
    this.#leaveLine(stream);
    this.#costly.delete(stream);
    this.#aside.delete(stream);
  }

  /** Another revision serves, or `web` streams have to be evaluated again. */
  changed(kind: 'all' | 'web'): void {
    const nowMs = performance.now();
    for (const stream of this.streams) {
      if (kind === 'web' && stream.values === undefined && stream.transport.kind !== 'refetch') continue;
      // An instant of @now has no names that changed.
      if (kind === 'web') stream.isWholeDue = true;
      if (stream.mode === 'current') this.#isBehind(stream, nowMs);
      else if (stream.mode === 'sending') stream.isStale = true;
    }
    this.#schedule();
  }

  /** Whoever is told to ask again is told within REFETCH_SPREAD_MS, each at a time of its own: thousands must not ask at once. */
  #isBehind(stream: Stream, nowMs: number): void {
    if (stream.transport.kind !== 'refetch') this.enqueue(stream, nowMs);
    else if (!stream.isStale) {
      stream.isStale = true;
      const itsTurn = (): void => {
        if (stream.mode === 'current') this.enqueue(stream, performance.now());
      };
      setTimeout(itsTurn, Math.random() * REFETCH_SPREAD_MS).unref();
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#instantTimer);
    this.#parts.fanOut.remove(this);
  }

  #schedule(): void {
    const isWaiting = this.#updates.size + this.#newcomers.size > 0 || this.#hasCostlyTurn;
    if (!this.#isParked && !this.#isClosed && isWaiting) this.#parts.fanOut.schedule(this);
  }

  get #hasCostlyTurn(): boolean {
    return this.#costly.size > 0 && this.#aside.size < ASIDE_MAX;
  }

  /** Out of the turns until `ready` has settled. */
  #park(ready: Promise<unknown>): void {
    this.#isParked = true;
    const again = (): void => {
      this.#isParked = false;
      this.#schedule();
    };
    ready.then(again, (error: unknown) => {
      if (!(error instanceof PlatformError)) this.#parts.onError(error);
      setTimeout(again, RETRY_MS).unref();
    });
  }

  step(deadlineMs: number): boolean {
    if (this.#isParked) return false;
    for (const line of [this.#updates, this.#newcomers]) {
      // One walk: a set that is asked for its first anew passes over all that has left it since it was last made smaller.
      for (const stream of line) {
        const nowMs = performance.now();
        if (nowMs >= deadlineMs) return true;
        const waitMs = line === this.#newcomers ? this.#parts.budget.waitMs(nowMs) : 0;
        const sent = waitMs > 0 ? delay(waitMs) : this.#try(stream, nowMs);
        if (sent === 'done') continue;
        this.#park(sent);
        return false;
      }
    }
    const [costly] = this.#costly;
    if (costly !== undefined && this.#hasCostlyTurn) this.#joinLine(costly);
    return false;
  }

  /** 'done': it is out of the line. */
  #try(stream: Stream, nowMs: number): Sent {
    try {
      if (stream.transport.kind === 'refetch') return this.#sendRefetch(stream, nowMs);
      return stream.values === undefined ? this.#sendConfig(stream, nowMs) : this.#sendValues(stream, nowMs);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Names the position to ask for, which a node that is not there yet waits for (ofrep-bulk-route.ts). */
  #sendRefetch(stream: Stream, nowMs: number): Sent {
    const { serving, active } = this.slot;
    if (serving === undefined) return delay(RETRY_MS);
    if (active !== undefined) this.#watchInstants(active.resident.instants);
    const order = stream.has === undefined ? -1 : comparePositions(stream.has, serving);
    // Whoever is ahead of this node learns nothing here (I8).
    if (order > 0 || (order === 0 && !stream.isWholeDue)) return this.#isCurrent(stream, nowMs);
    stream.isWholeDue = false;
    const event = { type: 'refetchEvaluation', etag: positionText(serving) };
    this.#send(stream, Buffer.from(JSON.stringify(event)), serving, nowMs);
    return 'done';
  }

  #sendConfig(stream: Stream, nowMs: number): Sent {
    const view = this.#view();
    const { position } = view;
    if (position === undefined) return delay(RETRY_MS);
    const order = stream.has === undefined ? -1 : comparePositions(stream.has, position);
    if (order === 0) return this.#isCurrent(stream, nowMs);
    // What it has this node does not have yet; the hub gives it up when that lasts.
    if (order > 0) return this.#putAside(stream);
    const frame = this.#frameFor(stream, view) ?? this.#parts.bodies.frame(view, stream.has, stream.transport.format);
    if (frame instanceof Promise) return frame;
    if (stream.has !== undefined && frame.bytes.length <= LAST_FRAME_BYTES_MAX) {
      this.#lastFrame = {
        since: stream.has,
        format: stream.transport.format,
        signature: view.signature,
        frame,
      };
    }
    this.#send(stream, frame.bytes, frame, nowMs);
    return 'done';
  }

  /** Most streams come from where the one before them came from: then this is quicker than to look its frame up by name. */
  #frameFor({ has, transport }: Stream, { signature }: ConfigView): ConfigFrame | undefined {
    const last = this.#lastFrame;
    if (last === undefined || has === undefined) return undefined;
    const isSame =
      last.signature === signature && last.format === transport.format && comparePositions(last.since, has) === 0;
    return isSame ? last.frame : undefined;
  }

  #sendValues(stream: Stream, nowMs: number): Sent {
    const { kernel, residency, inlineCostMax, ledger } = this.#parts;
    const { slot } = this;
    const { values } = stream;
    const { active, serving } = slot;
    if (serving === undefined || values === undefined) return delay(RETRY_MS);
    // A node that went back to the last good revision takes nobody back with it (I8).
    if (stream.has !== undefined && comparePositions(stream.has, serving) > 0) {
      return values.isSent ? this.#isCurrent(stream, nowMs) : this.#putAside(stream);
    }
    if (active === undefined) return residency.whenResident(slot, 0, () => undefined);
    const following = this.#affected.follow();
    if (following !== undefined) return following;
    slot.touch();
    const part = this.#sendPart(stream, active, nowMs);
    if (part !== 'unknown') return part;
    const answer = kernel.evaluate(slot, active, values.body, this.#options(), inlineCostMax);
    if (answer.status === 'costly') return this.#evaluateAside(stream);
    this.#watchInstants(active.resident.instants);
    if (answer.status === 'ok') {
      ledger.charge(stream.caller, answer.evaluations);
      this.#sendAnswer(stream, answer.bytes, active, nowMs);
    } else this.#cannotEvaluate(stream, answer.status, nowMs);
    return 'done';
  }

  /** What changed since it was evaluated last, where that is known and cheap. */
  #sendPart(stream: Stream, active: ActiveSnapshot, nowMs: number): 'done' | 'unknown' {
    const { kernel, inlineCostMax, ledger } = this.#parts;
    const { values, has } = stream;
    if (values?.isSent !== true || has === undefined || stream.isWholeDue) return 'unknown';
    const affected = this.#affected.since(has, active);
    if (affected === undefined) return 'unknown';
    const at = { epoch: active.epoch, revision: active.revision };
    let frame: Uint8Array | undefined;
    if (affected.flags.length > 0) {
      const body = values.bodyFor(affected.member);
      const answer = kernel.evaluate(this.slot, active, body, this.#options(), inlineCostMax);
      if (answer.status !== 'ok') return 'unknown';
      ledger.charge(stream.caller, answer.evaluations);
      const part = values.partTo(answer.bytes, at, stream.transport.format, this.#flags);
      if (part === 'unknown') return part;
      frame = part;
    }
    this.#watchInstants(active.resident.instants);
    if (frame !== undefined) this.#send(stream, frame, at, nowMs);
    else {
      stream.has = at;
      this.#isCurrent(stream, nowMs);
    }
    return 'done';
  }

  /** Costly contexts do not hold up the others. */
  #evaluateAside(stream: Stream): Sent {
    const isNewcomer = this.#newcomers.has(stream);
    this.#leaveLine(stream);
    if (this.#aside.size >= ASIDE_MAX) {
      this.#costly.add(stream);
      return 'done';
    }
    this.#aside.set(stream, { isNewcomer });
    void this.#evaluateInPool(stream)
      .catch((error: unknown) => {
        if (!(error instanceof PlatformError)) this.#parts.onError(error);
        return RETRY_MS;
      })
      .then((pauseMs) => (pauseMs === 0 ? undefined : delay(pauseMs)))
      .then(() => {
        // Sent, ended, or due still: another revision serves by now, or it has to be tried again.
        if (this.#aside.delete(stream) && stream.mode === 'due') this.#joinLine(stream);
        this.#schedule();
      });
    return 'done';
  }

  /** Resolves with the pause before it may be tried again, where it still is due. */
  async #evaluateInPool(stream: Stream): Promise<number> {
    const { evaluation, ledger } = this.#parts;
    const { slot } = this;
    const { values } = stream;
    if (values === undefined) return 0;
    let pauseMs = 0;
    await evaluation.evaluate({
      slot,
      body: values.body,
      options: () => this.#options(),
      signal: NEVER,
      use: (answer) => {
        if (stream.mode !== 'due') return;
        const nowMs = performance.now();
        const { active } = slot;
        if (answer.status === 'ok') {
          ledger.charge(stream.caller, answer.evaluations);
          // Another revision serves by now: it is evaluated again.
          if (active?.revision === revisionIn(answer.bytes)) this.#sendAnswer(stream, answer.bytes, active, nowMs);
        } else if (answer.status === 'trapped' && answer.isOverrun === true) pauseMs = OVERRUN_PAUSE_MS;
        else if (answer.status !== 'cold') this.#cannotEvaluate(stream, answer.status, nowMs);
        if (active !== undefined) this.#watchInstants(active.resident.instants);
      },
    });
    return pauseMs;
  }

  #options(): { route: 'evaluate'; now: number; clientSideOnly: true } {
    return { route: 'evaluate', now: Math.floor(this.#parts.now()), clientSideOnly: true };
  }

  #sendAnswer(stream: Stream, bytes: Uint8Array, { epoch, revision }: Position, nowMs: number): void {
    const at = { epoch, revision };
    stream.isWholeDue = false;
    const frame = stream.values?.frameTo(bytes, at, stream.transport.format, this.#flags);
    if (frame !== undefined) {
      this.#send(stream, frame, at, nowMs);
      return;
    }
    stream.has = at;
    this.#isCurrent(stream, nowMs);
  }

  /** A context that cannot be evaluated ends its stream; a kernel that trapped is the revision's fault, and another one will come (I20). */
  #cannotEvaluate(stream: Stream, status: string, nowMs: number): void {
    if (status === 'trapped') this.#isCurrent(stream, nowMs);
    else this.#parts.end(stream, status === 'limit-exceeded' ? STREAM_CLOSE.tooBig : STREAM_CLOSE.malformed);
  }

  #send(stream: Stream, frame: Uint8Array, { epoch, revision }: Position, nowMs: number): void {
    const { ledger, budget } = this.#parts;
    const { tenantAccount } = stream.caller;
    if (this.#newcomers.has(stream) || this.#aside.get(stream)?.isNewcomer === true) budget.spend(frame.length);
    this.#leaveLine(stream);
    if (!ledger.canHold(tenantAccount)) {
      this.#parts.end(stream, STREAM_CLOSE.slow);
      return;
    }
    const at = { epoch, revision };
    stream.move('sending', nowMs);
    stream.sending = at;
    stream.sendingBytes = frame.length;
    this.#parts.counters.frames += 1;
    const isAcknowledged = stream.transport.send(frame, at);
    if (isAcknowledged) this.acknowledged(stream, nowMs);
    else if (stream.transport.bufferedBytes > 0) {
      stream.heldBytes = frame.length;
      ledger.hold(tenantAccount, frame.length);
    }
  }

  /** The client has what was under way. */
  acknowledged(stream: Stream, nowMs: number): void {
    stream.has = stream.sending;
    stream.sending = undefined;
    stream.sendingBytes = 0;
    this.release(stream);
    if (stream.isStale) this.enqueue(stream, nowMs);
    else stream.move('current', nowMs);
  }

  /** The socket took what was held. */
  release(stream: Stream): void {
    if (stream.heldBytes > 0) this.#parts.ledger.unhold(stream.caller.tenantAccount, stream.heldBytes);
    stream.heldBytes = 0;
  }

  #isCurrent(stream: Stream, nowMs: number): 'done' {
    this.#leaveLine(stream);
    stream.move('current', nowMs);
    return 'done';
  }

  /** Out of the line and still due: a new revision puts it back, or the hub ends it. */
  #putAside(stream: Stream): 'done' {
    this.#leaveLine(stream);
    return 'done';
  }

  /** Streams that were put aside come back into the line. */
  retryAside(stream: Stream): void {
    if (stream.mode !== 'due') return;
    if (this.#updates.has(stream) || this.#newcomers.has(stream)) return;
    if (this.#aside.has(stream) || this.#costly.has(stream)) return;
    this.#updates.add(stream);
    this.#schedule();
  }

  #leaveLine(stream: Stream): void {
    this.#updates.delete(stream);
    this.#newcomers.delete(stream);
  }

  #watchInstants(instants: readonly number[]): void {
    if (instants === this.#instants) return;
    this.#instants = instants;
    this.#setInstantTimer(this.#parts.now());
  }

  #setInstantTimer(now: number): void {
    clearTimeout(this.#instantTimer);
    const next = this.#instants.find((instant) => instant > now);
    if (next === undefined || this.#isClosed) return;
    this.#instantTimer = setTimeout(
      () => {
        const then = this.#parts.now();
        if (then >= next) this.changed('web');
        this.#setInstantTimer(then);
      },
      Math.min(next - now, TIMER_MS_MAX),
    );
    this.#instantTimer.unref();
  }
}

const NEVER = new AbortController().signal;

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
