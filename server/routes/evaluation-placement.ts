import assert from 'node:assert';
import type { EvaluateOptions } from '@guidon/engine';
import { isSameEnvironment, PlatformError } from '@guidon/protocol';
import type { AccessDirectory, Caller } from '../auth/access-directory.js';
import type { ActiveSnapshot, AnswerHeads, EnvironmentSlot, ServedRevision } from '../environment-slot.js';
import type { LateAnswer, PooledEvaluation } from '../pooled-evaluation.js';
import { inPoolSlot } from '../quota/admit.js';
import type { QuotaLedger } from '../quota/quota-ledger.js';
import type { RouteRequest } from '../route.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';

export interface EvaluateParts {
  readonly directory: AccessDirectory;
  readonly kernel: SnapshotKernel;
  readonly residency: SnapshotResidency;
  readonly evaluation: PooledEvaluation;
  /** Units of work (engine/compile/condition-cost.ts) up to which a request is evaluated by the serving thread; 0 = any. */
  readonly inlineCostMax: number;
  readonly ledger: QuotaLedger;
  /** Wall clock, milliseconds: `@now` and the expiry of credentials. */
  readonly now: () => number;
}

/** What became of a request that is not answered yet. */
type Unanswered =
  | { readonly status: 'cold' }
  | { readonly status: 'costly' }
  | { readonly status: 'revision-behind'; readonly minRevision: number };
type Waiting = Unanswered & { readonly body: Uint8Array };
/** What a route has to answer: the rest is waited for here. */
export type Evaluated = Exclude<LateAnswer, Unanswered>;

/** What a route asks of the kernel and how it says what came of it. `request.body` is as the kernel reads it. */
export interface EvaluationUse<Request extends RouteRequest<Caller>> {
  optionsOf(request: Request): EvaluateOptions;
  /** `heads` are of the revision that was evaluated; what `answer` and `bodyOf()` hold is borrowed. A throw becomes a problem document. */
  answer(request: Request, answer: Evaluated, heads: AnswerHeads, bodyOf: () => Uint8Array): void;
}

const COLD = { status: 'cold' } as const;
/** An environment may be evicted again before the request's turn comes. */
const WAITS_MAX = 5;

/** Where and when a request is evaluated: here or in the pool by what it may cost (ADR 15), now or when its environment or revision is there. */
export class EvaluationPlacement<Request extends RouteRequest<Caller>> {
  readonly #parts: EvaluateParts;
  readonly #use: EvaluationUse<Request>;

  constructor(parts: EvaluateParts, use: EvaluationUse<Request>) {
    this.#parts = parts;
    this.#use = use;
  }

  handle(request: Request): Promise<void> | undefined {
    const unanswered = isCold(request.caller.slot) ? COLD : this.#answerHere(request);
    if (unanswered === undefined) return undefined;
    // The body is gone when this returns: what waits needs its own. The pool copies it to where it is evaluated.
    const next =
      unanswered.status === 'costly'
        ? this.#answerInPool(request)
        : Promise.resolve({ ...unanswered, body: Uint8Array.from(request.body) });
    return this.#answerLater(request, next);
  }

  /** Goes on with what is not answered yet, until it is; at most one wait for a revision and a few for the rest. */
  async #answerLater(request: Request, first: Promise<Waiting | undefined>): Promise<void> {
    const { caller, reply } = request;
    let hasWaited = false;
    let waiting = await first;
    for (let count = 0; waiting !== undefined && reply.isOpen; count += 1) {
      if (count === WAITS_MAX) throw new PlatformError('overloaded', 'The environment is not there for long enough.');
      const { body } = waiting;
      const again = { ...request, body };
      if (waiting.status === 'revision-behind') {
        const { minRevision } = waiting;
        if (hasWaited) {
          throw new PlatformError('revision-behind', `This node is not at revision ${minRevision} yet.`, {
            extensions: { currentRevision: caller.slot.serving?.revision ?? 0 },
          });
        }
        await caller.slot.waitForRevision(minRevision);
        hasWaited = true;
      }
      if (waiting.status === 'costly') {
        waiting = await this.#answerInPool(again);
        continue;
      }
      const unanswered = await this.#parts.residency.whenResident(caller.slot, body.length, () =>
        reply.isOpen ? this.#answerHere(again) : undefined,
      );
      waiting = unanswered && { ...unanswered, body };
    }
  }

  /** On the serving thread, if that is certain to be short. */
  #answerHere(request: Request): Unanswered | undefined {
    const { kernel, inlineCostMax } = this.#parts;
    const { slot } = request.caller;
    const active = activeOf(slot);
    slot.touch();
    const answer = kernel.evaluate(slot, active, request.body, this.#use.optionsOf(request), inlineCostMax);
    if (answer.status === 'costly' || answer.status === 'revision-behind') return answer;
    this.#parts.evaluation.counters.inline += 1;
    this.#use.answer(request, answer, slot.answerHeads, () => request.body);
    return undefined;
  }

  #answerInPool(request: Request): Promise<Waiting | undefined> {
    const { caller, body, reply } = request;
    const { ledger, evaluation } = this.#parts;
    return inPoolSlot(ledger, caller, reply, () =>
      evaluation.evaluate({
        slot: caller.slot,
        body,
        options: () => this.#use.optionsOf(request),
        signal: reply.signal,
        use: (answer, heads, copyBody): Waiting | undefined => {
          if (answer.status === 'cold' || answer.status === 'revision-behind') return { ...answer, body: copyBody() };
          evaluation.counters.pooled += 1;
          this.#use.answer(request, answer, heads, copyBody);
          return undefined;
        },
      }),
    );
  }
}

/** The revision that serves. Throws `not-ready` before the first one: absence is never "no flags" (I13). */
export function servingOf({ serving }: EnvironmentSlot): ServedRevision {
  if (serving === undefined)
    throw new PlatformError('not-ready', 'This node has no configuration of this environment yet.');
  return serving;
}

const isCold = ({ serving, active }: EnvironmentSlot): boolean => active === undefined && serving !== undefined;

/** What serves, where it is resident. */
function activeOf(slot: EnvironmentSlot): ActiveSnapshot {
  servingOf(slot);
  const { active } = slot;
  assert(active !== undefined, 'a cold environment is loaded before it is evaluated');
  assert(isSameEnvironment(active.environment, slot.environment), 'the snapshot belongs to the credential (I16)');
  return active;
}
