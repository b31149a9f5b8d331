import type { EvaluateOptions } from '@guidon/engine';
import { PlatformError, type Problem, REQUEST_LIMITS } from '@guidon/protocol';
import {
  comparePositions,
  findPosition,
  mintStreamToken,
  type Position,
  positionText,
} from '@guidon/protocol/live-updates';
import { answerEtag } from '../answer-etag.js';
import type { Caller } from '../auth/access-directory.js';
import { answerPreflight } from '../cors.js';
import type { AnswerHeads } from '../environment-slot.js';
import { isNamed } from '../if-none-match.js';
import type { HeaderPair, Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import {
  type Evaluated,
  type EvaluateParts,
  EvaluationPlacement,
  type EvaluationUse,
} from '../routes/evaluation-placement.js';
import { kernelRequest } from './kernel-request.js';
import { authorizeOfrep, chargedBytes, ofrepOptions } from './ofrep-flag-route.js';
import { evaluationFailure, ofrepProblem } from './ofrep-problem.js';
import { flagSetMetadata, type KernelResults, ofrepResult } from './ofrep-result.js';

/** A token of a bulk answer is good until the end of the period after this one: for 30 to 60 minutes. */
const TOKEN_PERIOD_MS = 30 * 60 * 1000;
/** How long a page may be hidden before its client ends the stream. */
const INACTIVITY_DELAY_SEC = 120;

/**
 * `POST /ofrep/v1/evaluate/flags` of OFREP 0.3.0: every flag that the credential sees, for one context.
 *
 * The ETag is a hash of what was evaluated, without the revision: a change that changes nothing for this context is answered 304. A 304 carries no
 * streams, so the period of the token is hashed too, and a client that comes back after it is given a new one.
 */
export class OfrepBulkRoute implements Route<Caller>, EvaluationUse<RouteRequest<Caller>> {
  readonly path = '/ofrep/v1/evaluate/flags';
  readonly query = { parameters: ['flagConfigEtag', 'flagConfigLastModified'] } as const;
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

  problem(problem: Problem): Problem {
    return ofrepProblem(problem, undefined);
  }

  handle(request: RouteRequest<Caller>): Promise<void> | undefined {
    const { caller, target } = request;
    const body = kernelRequest(request.body, undefined);
    const barrier = barrierOf(target.query);
    const { serving } = caller.slot;
    if (barrier === undefined || (serving !== undefined && comparePositions(serving, barrier) >= 0)) {
      return this.#placement.handle({ ...request, body });
    }
    return this.#whenReached(barrier, { ...request, body: Uint8Array.from(body) });
  }

  /** A node that lags behind the one that told the client of a change never answers it with what was before. */
  async #whenReached(barrier: Position, request: RouteRequest<Caller>): Promise<void> {
    if (!(await request.caller.slot.waitForPosition(barrier))) {
      throw new PlatformError('timeout', `This node is not at configuration ${positionText(barrier)} yet.`);
    }
    await this.#placement.handle(request);
  }

  optionsOf(request: RouteRequest<Caller>): EvaluateOptions {
    return ofrepOptions(request, this.#parts.now());
  }

  answer({ caller, target, reply }: RouteRequest<Caller>, answer: Evaluated, heads: AnswerHeads): void {
    const { slot } = caller;
    const bytes = chargedBytes(this.#parts, caller, answer);
    const tokenExpiresAt = (Math.floor(this.#parts.now() / TOKEN_PERIOD_MS) + 2) * TOKEN_PERIOD_MS;
    const etag = answerEtag(caller, bytes, String(tokenExpiresAt));
    if (isNamed(target.ifNoneMatch, etag)) {
      reply.end(304, [['ETag', etag], NO_STORE], '');
      return;
    }
    const { revision, results }: KernelResults = JSON.parse(Buffer.from(bytes).toString());
    if (results.length > 0 && results.every(({ errorCode }) => errorCode === 'INVALID_CONTEXT')) {
      throw evaluationFailure('INVALID_CONTEXT');
    }
    const flagSet = flagSetMetadata(slot, revision);
    // Another revision serves by now, maybe of another epoch: the stream says at once that there is more.
    const epoch = slot.serving?.revision === revision ? slot.serving.epoch : 0;
    reply.extraHeaders = [...(reply.extraHeaders ?? []), ['ETag', etag]];
    reply.ok(
      heads.json,
      JSON.stringify({
        flags: results.map((result) => ofrepResult(result, flagSet)),
        metadata: flagSet,
        eventStreams: [streamOf(caller, tokenExpiresAt, { epoch, revision })],
      }),
    );
  }
}

const NO_STORE: HeaderPair = ['Cache-Control', 'private, no-store'];

/** `since`: a stream that opens later than a change hears of it. Relative, for the client joins it to the origin that it asks. */
function streamOf({ slot, entry }: Caller, tokenExpiresAt: number, since: Position): object {
  const token = mintStreamToken(slot.environment, entry, 'refetch', tokenExpiresAt);
  return {
    type: 'sse',
    endpoint: { requestUri: `/ofrep/v1/stream?streamToken=${token}&since=${positionText(since)}` },
    inactivityDelaySec: INACTIVITY_DELAY_SEC,
  };
}

/** What an event told the client to ask for. `flagConfigLastModified` says nothing beside it: our events have none. */
function barrierOf(query: ReadonlyMap<string, string>): Position | undefined {
  const text = query.get('flagConfigEtag');
  if (text === undefined) return undefined;
  const barrier = findPosition(text);
  if (barrier !== undefined) return barrier;
  const detail = 'must be the etag of an event of ours';
  throw new PlatformError('validation-failed', `flagConfigEtag ${detail}.`, {
    issues: [{ pointer: '/flagConfigEtag', code: 'validation-failed', detail }],
  });
}
