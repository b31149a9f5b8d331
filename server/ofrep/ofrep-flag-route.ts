import type { EvaluateOptions } from '@guidon/engine';
import { PlatformError, type Problem, REQUEST_LIMITS } from '@guidon/protocol';
import type { Caller } from '../auth/access-directory.js';
import { authorizeCaller } from '../auth/authorize-caller.js';
import { answerPreflight } from '../cors.js';
import type { AnswerHeads } from '../environment-slot.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import {
  type Evaluated,
  type EvaluateParts,
  EvaluationPlacement,
  type EvaluationUse,
} from '../routes/evaluation-placement.js';
import { kernelRequest } from './kernel-request.js';
import { evaluationFailure, ofrepProblem, refusalOf } from './ofrep-problem.js';
import { flagSetMetadata, type KernelResults, ofrepResult } from './ofrep-result.js';

/** `POST /ofrep/v1/evaluate/flags/{key}` of OFREP 0.3.0: one flag for one context. */
export class OfrepFlagRoute implements Route<Caller>, EvaluationUse<RouteRequest<Caller>> {
  readonly path = '/ofrep/v1/evaluate/flags/:key';
  readonly bodyBytesMax = REQUEST_LIMITS.bodyBytes;
  readonly #parts: EvaluateParts;
  readonly #placement: EvaluationPlacement<RouteRequest<Caller>>;

  constructor(parts: EvaluateParts) {
    this.#parts = parts;
    this.#placement = new EvaluationPlacement(parts, this);
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    return authorizeOfrep(this.#parts, head, reply);
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }

  problem(problem: Problem, parameter: string): Problem {
    return ofrepProblem(problem, keyOf(parameter) ?? parameter);
  }

  handle(request: RouteRequest<Caller>): Promise<void> | undefined {
    const key = keyOf(request.target.parameter);
    // A key that is no text is no flag's.
    if (key === undefined) throw evaluationFailure('FLAG_NOT_FOUND');
    return this.#placement.handle({ ...request, body: kernelRequest(request.body, key) });
  }

  optionsOf(request: RouteRequest<Caller>): EvaluateOptions {
    return ofrepOptions(request, this.#parts.now());
  }

  answer({ caller, reply }: RouteRequest<Caller>, answer: Evaluated, heads: AnswerHeads): void {
    const { revision, results } = this.#resultsOf(caller, answer);
    const [result] = results;
    if (result === undefined) throw new Error('the kernel answers each flag that it is asked');
    if (result.errorCode !== undefined) throw evaluationFailure(result.errorCode);
    const flagSet = flagSetMetadata(caller.slot, revision);
    reply.ok(heads.json, JSON.stringify(ofrepResult(result, flagSet)));
  }

  #resultsOf(caller: Caller, answer: Evaluated): KernelResults {
    const bytes = chargedBytes(this.#parts, caller, answer);
    const results: KernelResults = JSON.parse(Buffer.from(bytes).toString());
    return results;
  }
}

/** As authorizeCaller; OFREP is JSON, whatever else is accepted elsewhere. */
export function authorizeOfrep(parts: EvaluateParts, head: RequestHead, reply: Reply): Caller {
  reply.format = 'json';
  return authorizeCaller(parts, head, reply);
}

/** Throws `unsupported-media-type` for msgpack. */
export function ofrepOptions({ caller, format }: RouteRequest<Caller>, now: number): EvaluateOptions {
  if (format !== 'json') throw new PlatformError('unsupported-media-type', 'OFREP is application/json.');
  return {
    route: 'evaluate',
    requestFormat: 'json',
    answerFormat: 'json',
    now,
    clientSideOnly: caller.entry.kind === 'web',
  };
}

/** The kernel's answer, borrowed, and charged to whoever asked. Throws what it is refused with. */
export function chargedBytes({ ledger }: EvaluateParts, caller: Caller, answer: Evaluated): Uint8Array {
  if (answer.status === 'trapped') throw new PlatformError('internal', 'The evaluation failed.');
  if (answer.status !== 'ok') throw refusalOf(answer);
  ledger.charge(caller, answer.evaluations);
  return answer.bytes;
}

/** Undefined for what is not UTF-8 percent-encoded. */
function keyOf(parameter: string): string | undefined {
  try {
    return decodeURIComponent(parameter);
  } catch {
    return undefined;
  }
}
