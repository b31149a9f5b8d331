import type { HttpResponse } from 'uWebSockets.js';
import { randomBytes } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { ERROR_CODES, type ErrorCode, type Problem, problemFrom } from '@guidon/protocol';
import { Packr } from 'msgpackr';
import { type BodyFormat, PROBLEM_MEDIA_TYPES } from './media-type.js';
import type { RouteCounters } from './route-counters.js';

/** A header value, or several headers: `value` may hold `\r\nName: value` lines of our own making (see AnswerHead). */
export type HeaderPair = readonly [name: string, value: string | Uint8Array];

const packr = new Packr({ useRecords: false, variableMapSize: true });
const requestIdPrefix = randomBytes(6).toString('hex');
let requestCount = 0;

/**
 * One response, and the only code that touches a uWS response after the handler returned (I26).
 *
 *   open --end()/fail()--> ended          open --client gone--> aborted          both are final; a late answer is dropped
 *
 * Everything is written inside one cork: uWS corks the handler and `onData` itself, later writes cork here.
 */
export class Reply {
  /** The format of problems and, unless the handler says otherwise, of answers. */
  format: BodyFormat = 'json';
  /** Headers of every answer of this request, such as CORS; undefined is the common case. */
  extraHeaders: HeaderPair[] | undefined;
  /** The response must not be written inside uWS's own cork any more: the handler has returned. */
  isDetached = false;
  /** A HEAD answer has no body. */
  isHead = false;
  /** The connection ends with this answer: it is not to be trusted, or the node drains. */
  closesConnection = false;
  readonly #res: HttpResponse;
  readonly #counters: RouteCounters;
  #requestId: string | undefined;
  #state: 'open' | 'ended' | 'aborted' = 'open';
  #onFinish: (() => void) | undefined;

  constructor(res: HttpResponse, counters: RouteCounters) {
    this.#res = res;
    this.#counters = counters;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  get isAborted(): boolean {
    return this.#state === 'aborted';
  }

  get requestId(): string {
    if (this.#requestId === undefined) {
      requestCount += 1;
      this.#requestId = `req_${requestIdPrefix}${requestCount.toString(36)}`;
    }
    return this.#requestId;
  }

  /** Called once, when the response has ended or the client is gone. */
  onFinish(listener: () => void): void {
    this.#onFinish = listener;
  }

  /** For the wrapper's `onAborted` alone. */
  abort(): void {
    if (this.#state !== 'open') return;
    this.#state = 'aborted';
    this.#counters.aborted += 1;
    this.#onFinish?.();
  }

  /** 200. `body` is copied by uWS before this returns, so it may be borrowed. */
  ok(header: HeaderPair, body: Uint8Array | string): void {
    this.end(200, [header], body);
  }

  /** Answers, once; a second answer or one after the client left is dropped. */
  end(status: number, headers: readonly HeaderPair[], body: Uint8Array | string): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#counters.answered(status);
    if (this.isDetached) this.#res.cork(() => this.#write(status, headers, body));
    else this.#write(status, headers, body);
    this.#onFinish?.();
  }

  /** Answers with the problem document of `error`, in the caller's format. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    const problem: Problem = problemFrom(error, this.requestId);
    if (problem.status === 413) this.closesConnection = true;
    const headers: HeaderPair[] = [
      ['Content-Type', PROBLEM_MEDIA_TYPES[this.format]],
      ['Cache-Control', 'no-store'],
    ];
    if (problem.status === 401) headers.push(['WWW-Authenticate', 'Bearer realm="guidon"']);
    if (isRetryable(problem.code)) headers.push(['Retry-After', '1']);
    this.end(problem.status, headers, this.format === 'msgpack' ? packr.pack(problem) : JSON.stringify(problem));
  }

  #write(status: number, headers: readonly HeaderPair[], body: Uint8Array | string): void {
    const res = this.#res;
    if (status !== 200) res.writeStatus(`${status} ${STATUS_CODES[status] ?? 'Unknown'}`);
    for (const header of headers) res.writeHeader(header[0], header[1]);
    res.writeHeader('X-Request-Id', this.requestId);
    if (this.extraHeaders !== undefined) {
      for (const header of this.extraHeaders) res.writeHeader(header[0], header[1]);
    }
    if (this.isHead) res.endWithoutBody(0, this.closesConnection);
    else res.end(body, this.closesConnection);
  }
}

function isRetryable(code: ErrorCode): boolean {
  return ERROR_CODES[code].retryable && ERROR_CODES[code].status === 503;
}
