import assert from 'node:assert';
import type { EvaluateOptions } from '@guidon/engine';
import { isSameEnvironment, PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { Packr } from 'msgpackr';
import type { AccessDirectory, Caller } from '../auth/access-directory.js';
import { allowProblemToBeRead, answerPreflight, assertOrigin } from '../cors.js';
import type { ActiveSnapshot, AnswerHeads, EnvironmentSlot, ServedRevision } from '../environment-slot.js';
import type { LateAnswer, PooledEvaluation } from '../pooled-evaluation.js';
import { admit, inPoolSlot } from '../quota/admit.js';
import type { QuotaLedger } from '../quota/quota-ledger.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';
import { trappedAnswer } from './trapped-answer.js';

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
type Answered = Exclude<LateAnswer, Unanswered>;

const COLD = { status: 'cold' } as const;
/** An environment may be evicted again before the request's turn comes. */
const WAITS_MAX = 5;

type EvaluateRequest = RouteRequest<Caller>;

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** `POST /v1/evaluate` and `POST /v1/evaluate/batch`: bytes go into the kernel as they came and come out as they leave. */
export class EvaluateRoute implements Route<Caller> {
  readonly path: string;
  readonly bodyBytesMax: number;
  readonly #route: 'evaluate' | 'batch';
  readonly #parts: EvaluateParts;

  constructor(route: 'evaluate' | 'batch', parts: EvaluateParts) {
    this.#route = route;
    this.#parts = parts;
    this.path = route === 'batch' ? '/v1/evaluate/batch' : '/v1/evaluate';
    this.bodyBytesMax = route === 'batch' ? REQUEST_LIMITS.batchBodyBytes : REQUEST_LIMITS.bodyBytes;
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    return authorizeCaller(this.#parts, head, reply);
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }

  handle(request: EvaluateRequest): Promise<void> | undefined {
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
  async #answerLater(request: EvaluateRequest, first: Promise<Waiting | undefined>): Promise<void> {
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
  #answerHere(request: EvaluateRequest): Unanswered | undefined {
    const { kernel, inlineCostMax } = this.#parts;
    const { slot } = request.caller;
    const active = activeOf(slot);
    slot.touch();
    const answer = kernel.evaluate(slot, active, request.body, this.#optionsOf(request), inlineCostMax);
    if (answer.status === 'costly' || answer.status === 'revision-behind') return answer;
    this.#parts.evaluation.counters.inline += 1;
    this.#answer(request, answer, slot.answerHeads, () => request.body);
    return undefined;
  }

  #answerInPool(request: EvaluateRequest): Promise<Waiting | undefined> {
    const { caller, body, reply } = request;
    const { ledger, evaluation } = this.#parts;
    return inPoolSlot(ledger, caller, reply, () =>
      evaluation.evaluate({
        slot: caller.slot,
        body,
        options: () => this.#optionsOf(request),
        signal: reply.signal,
        use: (answer, heads, copyBody): Waiting | undefined => {
          if (answer.status === 'cold' || answer.status === 'revision-behind') return { ...answer, body: copyBody() };
          evaluation.counters.pooled += 1;
          this.#answer(request, answer, heads, copyBody);
          return undefined;
        },
      }),
    );
  }

  #optionsOf({ caller, format, reply }: EvaluateRequest): EvaluateOptions {
    return {
      route: this.#route,
      requestFormat: format,
      answerFormat: reply.format,
      now: this.#parts.now(),
      clientSideOnly: caller.entry.kind === 'web',
    };
  }

  #answer(request: EvaluateRequest, answer: Answered, heads: AnswerHeads, bodyOf: () => Uint8Array): void {
    const { caller, format, reply } = request;
    const { slot } = caller;
    if (answer.status === 'ok') {
      this.#parts.ledger.charge(caller, answer.evaluations);
      reply.ok(heads[reply.format], answer.bytes);
      return;
    }
    if (answer.status === 'trapped') {
      const value = trappedAnswer(bodyOf(), format, this.#route, slot.serving?.revision ?? 0);
      if (value === undefined) throw new PlatformError('internal', 'The evaluation failed.');
      reply.ok(heads[reply.format], reply.format === 'msgpack' ? packr.pack(value) : JSON.stringify(value));
      return;
    }
    const { status, detail, pointer } = answer;
    throw new PlatformError(
      status,
      detail,
      pointer === undefined ? {} : { issues: [{ pointer, code: status, detail }] },
    );
  }
}

/** The one way from a request to its environment (I16), with the origin rules of its kind of credential, and its quotas (I17). */
export function authorizeCaller(
  parts: Pick<EvaluateParts, 'directory' | 'ledger' | 'now'>,
  head: RequestHead,
  reply: Reply,
): Caller {
  allowProblemToBeRead(head, reply);
  const caller = parts.directory.authenticate(head, parts.now);
  if (head.origin !== '') assertOrigin(caller.entry, head.origin, reply);
  admit(parts.ledger, caller, reply);
  return caller;
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
