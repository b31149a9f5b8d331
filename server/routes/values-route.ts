import type { EvaluateOptions } from '@guidon/engine';
import { PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { answerEtag } from '../answer-etag.js';
import type { Caller } from '../auth/access-directory.js';
import { authorizeCaller } from '../auth/authorize-caller.js';
import { answerPreflight } from '../cors.js';
import type { AnswerHeads, ServedRevision } from '../environment-slot.js';
import { isNamed } from '../if-none-match.js';
import { chargedBytes } from '../ofrep/ofrep-flag-route.js';
import type { HeaderPair, Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import { type Evaluated, type EvaluateParts, EvaluationPlacement, type EvaluationUse } from './evaluation-placement.js';

const NO_STORE: HeaderPair = ['Cache-Control', 'private, no-store'];
const COMMA = 0x2c;

/**
 * `POST /v1/values`: what a page polls, and what a server renders it with. As `POST /v1/evaluate`, in JSON, except that
 *
 * - flags that are not for clients are never in it, also for a server key
 * - `epoch` stands before `revision`, so that the answer has its place among the frames of a stream
 * - it has an ETag over what was evaluated: `If-None-Match` is answered 304 for as long as nothing is another for this context
 */
export class ValuesRoute implements Route<Caller>, EvaluationUse<RouteRequest<Caller>> {
  readonly path = '/v1/values';
  /** None, but without it `If-None-Match` is not read. */
  readonly query = { parameters: [] } as const;
  readonly bodyBytesMax = REQUEST_LIMITS.bodyBytes;
  readonly #parts: EvaluateParts;
  readonly #placement: EvaluationPlacement<RouteRequest<Caller>>;

  constructor(parts: EvaluateParts) {
    this.#parts = parts;
    this.#placement = new EvaluationPlacement(parts, this);
  }

  authorize(head: RequestHead, reply: Reply): Caller {
    reply.format = 'json';
    return authorizeCaller(this.#parts, head, reply);
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }

  handle(request: RouteRequest<Caller>): Promise<void> | undefined {
    return this.#placement.handle(request);
  }

  optionsOf({ format }: RouteRequest<Caller>): EvaluateOptions {
    if (format !== 'json') throw new PlatformError('unsupported-media-type', 'Values are application/json.');
    return {
      route: 'evaluate',
      requestFormat: 'json',
      answerFormat: 'json',
      now: this.#parts.now(),
      clientSideOnly: true,
    };
  }

  answer({ caller, target, reply }: RouteRequest<Caller>, answer: Evaluated, heads: AnswerHeads): void {
    const bytes = chargedBytes(this.#parts, caller, answer);
    const etag = answerEtag(caller, bytes);
    if (isNamed(target.ifNoneMatch, etag)) {
      reply.end(304, [['ETag', etag], NO_STORE], '');
      return;
    }
    reply.extraHeaders = [...(reply.extraHeaders ?? []), ['ETag', etag]];
    reply.ok(heads.json, withEpoch(bytes, caller.slot.serving));
  }
}

/** `{"revision":…,` becomes `{"epoch":…,"revision":…,`, unless another revision serves by now: then nobody knows it any more. */
function withEpoch(bytes: Uint8Array, serving: ServedRevision | undefined): Uint8Array {
  const start = Buffer.from(bytes.subarray(0, bytes.indexOf(COMMA) + 1)).toString();
  if (serving === undefined || start !== `{"revision":${serving.revision},`) return bytes;
  return Buffer.concat([Buffer.from(`{"epoch":${serving.epoch},`), bytes.subarray(1)]);
}
