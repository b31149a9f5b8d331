import type { EvaluateOptions } from '@guidon/engine';
import { PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { Packr } from 'msgpackr';
import type { Caller } from '../auth/access-directory.js';
import { authorizeCaller } from '../auth/authorize-caller.js';
import { answerPreflight } from '../cors.js';
import type { AnswerHeads } from '../environment-slot.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import { type Evaluated, type EvaluateParts, EvaluationPlacement, type EvaluationUse } from './evaluation-placement.js';
import { trappedAnswer } from './trapped-answer.js';

type EvaluateRequest = RouteRequest<Caller>;

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** `POST /v1/evaluate` and `POST /v1/evaluate/batch`: bytes go into the kernel as they came and come out as they leave. */
export class EvaluateRoute implements Route<Caller>, EvaluationUse<EvaluateRequest> {
  readonly path: string;
  readonly bodyBytesMax: number;
  readonly #route: 'evaluate' | 'batch';
  readonly #parts: EvaluateParts;
  readonly #placement: EvaluationPlacement<EvaluateRequest>;

  constructor(route: 'evaluate' | 'batch', parts: EvaluateParts) {
    this.#route = route;
    this.#parts = parts;
    this.#placement = new EvaluationPlacement(parts, this);
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
    return this.#placement.handle(request);
  }

  optionsOf({ caller, format, reply }: EvaluateRequest): EvaluateOptions {
    return {
      route: this.#route,
      requestFormat: format,
      answerFormat: reply.format,
      now: this.#parts.now(),
      clientSideOnly: caller.entry.kind === 'web',
    };
  }

  answer(request: EvaluateRequest, answer: Evaluated, heads: AnswerHeads, bodyOf: () => Uint8Array): void {
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
