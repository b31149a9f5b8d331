import type { HttpResponse } from 'uWebSockets.js';
import assert from 'node:assert';
import { randomBytes } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { BodyFormat } from '@guidon/engine';
import { ERROR_CODES, type ErrorCode, type PlatformError, type Problem, problemFrom } from '@guidon/protocol';
import { Packr } from 'msgpackr';
import type { HeldAnswers } from './held-answers.js';
import { PROBLEM_MEDIA_TYPES } from './media-type.js';
import { type Accounts, NODE_ACCOUNT, type QuotaLedger } from './quota/quota-ledger.js';
import { ResponseStream } from './response-stream.js';
import type { RouteCounters } from './route-counters.js';

/** A header, or several: `value` may hold `\r\nName: value` lines of our own making. */
export type HeaderPair = readonly [name: string, value: string | Uint8Array];

const packr = new Packr({ useRecords: false, variableMapSize: true });
const CONTENT_TYPE = Buffer.from('Content-Type');
const NO_CACHE = 'no-store';
/** `req_`, 12 hex digits of this process, 10 digits of a counter. */
const requestIdPrefix = `req_${randomBytes(6).toString('hex')}`;
const REQUEST_DIGITS = 10;
let requestCount = 0;

function requestIdOf(requestNumber: number): string {
  return requestIdPrefix + String(requestNumber).padStart(REQUEST_DIGITS, '0');
}

/**
 * The headers that many answers share, ready to be written in one native call: each call and each string would cost more than the look-up
 * of the credential. Only the digits of the request id differ from answer to answer; they are written in place.
 */
export class AnswerHead {
  readonly bytes: Uint8Array;

  /** `lines` after the media type, each `Name: value`. They are ours: nothing of a request may be among them. */
  constructor(mediaType: string, lines: readonly string[]) {
    this.bytes = Buffer.from([mediaType, ...lines, `X-Request-Id: ${requestIdOf(0)}`].join('\r\n'));
  }

  setRequestNumber(requestNumber: number): void {
    const { bytes } = this;
    let rest = requestNumber;
    for (let index = bytes.length - 1; index >= bytes.length - REQUEST_DIGITS; index -= 1) {
      const next = Math.floor(rest / 10);
      bytes[index] = 48 + rest - next * 10;
      rest = next;
    }
  }
}

/**
 * One response, and the only code that touches a uWS response after the handler returned (I26).
 *
 *   open --ok()/end()/fail()--> ended          open --client gone--> aborted          both are final; a late answer is dropped
 *   open --ok(), the client does not read--> sending --it took the rest--> ended, or --gone, or over a bound--> aborted
 *   open --stream()--> streaming --its end--> ended, or --gone--> aborted          open --upgraded()--> ended
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
  /** How its route words a problem, where that is not as everywhere; it may choose another status. */
  wording: ((problem: Problem) => Problem) | undefined;
  /** What Retry-After says of a refusal; a retryable one without it says 1. */
  retryAfterSeconds = 0;
  readonly #res: HttpResponse;
  readonly #counters: RouteCounters;
  readonly #held: HeldAnswers;
  #requestNumber = 0;
  #state: 'open' | 'sending' | 'streaming' | 'ended' | 'aborted' = 'open';
  #stream: ResponseStream | undefined;
  #ledger: QuotaLedger | undefined;
  #accounts: Accounts | undefined;
  #onFinish: (() => void) | undefined;
  #closing: AbortController | undefined;

  constructor(res: HttpResponse, counters: RouteCounters, held: HeldAnswers) {
    this.#res = res;
    this.#counters = counters;
    this.#held = held;
  }

  /** The request is on these accounts, in which it was counted; it leaves them when the reply has ended. */
  enter(ledger: QuotaLedger, accounts: Accounts): void {
    this.#ledger = ledger;
    this.#accounts = accounts;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  get isAborted(): boolean {
    return this.#state === 'aborted';
  }

  get requestId(): string {
    return requestIdOf(this.#number());
  }

  #number(): number {
    if (this.#requestNumber === 0) {
      requestCount += 1;
      this.#requestNumber = requestCount;
    }
    return this.#requestNumber;
  }

  /** Called once, when the response has ended or the client is gone. */
  onFinish(listener: () => void): void {
    this.#onFinish = listener;
  }

  /** Aborts when nothing can be answered any more: work that only this answer needs ends with it. */
  get signal(): AbortSignal {
    this.#closing ??= new AbortController();
    if (!this.isOpen) this.#closing.abort();
    return this.#closing.signal;
  }

  #finish(): void {
    if (this.#accounts !== undefined) this.#ledger?.leave(this.#accounts);
    this.#onFinish?.();
    this.#closing?.abort();
  }

  /** For the wrapper's `onAborted` alone. */
  abort(): void {
    if (this.#state === 'ended' || this.#state === 'aborted') return;
    if (this.#state === 'sending') this.#held.release(this);
    // Whoever reads a stream ends it by leaving.
    if (this.#state !== 'streaming') this.#counters.aborted += 1;
    this.#state = 'aborted';
    this.#finish();
    this.#stream?.gone();
  }

  /** Ends the connection at once, whatever of the answer has been taken. */
  drop(): void {
    // uWS calls back into `abort`.
    this.#res.close();
  }

  /** 200. `body` is copied by uWS before this returns, so it may be borrowed. */
  ok(head: AnswerHead, body: Uint8Array | string): void {
    if (this.#state !== 'open') return;
    this.#counters.answered(200);
    if (this.isDetached) this.#res.cork(() => this.#writeOk(head, body));
    else this.#writeOk(head, body);
  }

  #writeOk(head: AnswerHead, body: Uint8Array | string): void {
    head.setRequestNumber(this.#number());
    const res = this.#res.writeHeader(CONTENT_TYPE, head.bytes);
    if (this.extraHeaders !== undefined) {
      for (const header of this.extraHeaders) res.writeHeader(header[0], header[1]);
    }
    if (this.closesConnection || !this.#held.isCheckDue(body.length)) {
      res.end(body, this.closesConnection);
      this.#ended();
      return;
    }
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    const [, hasEnded] = res.tryEnd(bytes, bytes.length);
    if (hasEnded) this.#ended();
    else this.#sendRest(bytes, this.#res.getWriteOffset());
  }

  #ended(): void {
    this.#state = 'ended';
    this.#finish();
  }

  /** The socket took `offset` bytes. The rest, copied, is given to it as it takes more. */
  #sendRest(body: Uint8Array, offset: number): void {
    const rest = body.slice(offset);
    this.#state = 'sending';
    if (!this.#held.hold(this, this.#accounts?.tenantAccount ?? NODE_ACCOUNT, rest.length)) {
      this.drop();
      return;
    }
    this.#res.onWritable((writtenBytes) => {
      const [isWritten, hasEnded] = this.#res.tryEnd(rest.subarray(writtenBytes - offset), body.length);
      if (hasEnded) {
        this.#held.release(this);
        this.#ended();
      }
      return isWritten;
    });
  }

  /** 200, headers, and a body that goes on; within the turn of the handler. The request lasts until the stream ends. */
  stream(headers: readonly HeaderPair[]): ResponseStream {
    assert(this.isOpen && !this.isDetached, 'a stream begins before its handler returns');
    this.#state = 'streaming';
    this.#counters.answered(200);
    for (const header of headers) this.#res.writeHeader(header[0], header[1]);
    this.#res.writeHeader('X-Request-Id', this.requestId);
    for (const header of this.extraHeaders ?? []) this.#res.writeHeader(header[0], header[1]);
    this.#stream = new ResponseStream(this.#res, () => this.#ended());
    return this.#stream;
  }

  /** The connection is a WebSocket from here on. The caller upgrades it in the same turn; its accounts are the caller's now. */
  upgraded(): void {
    assert(this.isOpen && !this.isDetached, 'an upgrade happens before its handler returns');
    this.#state = 'ended';
    this.#counters.answered(101);
  }

  /** Answers, once; a second answer or one after the client left is dropped. */
  end(status: number, headers: readonly HeaderPair[], body: Uint8Array | string): void {
    if (this.#state !== 'open') return;
    this.#counters.answered(status);
    if (this.isDetached) this.#res.cork(() => this.#write(status, headers, body));
    else this.#write(status, headers, body);
  }

  /**
   * The last answer of its connection, for a request whose end cannot be trusted (M13) or a sender who does not stop. It is given in the next turn: after an answer given
   * at once uWS would go on with what lies behind it in the socket's buffer, and forget that the connection ends; what it finds
   * behind an open answer makes it close the connection instead, and then nobody is answered.
   */
  failLast(error: PlatformError): void {
    this.closesConnection = true;
    this.isDetached = true;
    setImmediate(() => this.fail(error));
  }

  /** Answers with the problem document of `error`, in the caller's format. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    const plain = problemFrom(error, this.requestId);
    const problem = this.wording?.(plain) ?? plain;
    if (problem.status === 413) this.closesConnection = true;
    const headers: HeaderPair[] = [
      ['Content-Type', PROBLEM_MEDIA_TYPES[this.format]],
      ['Cache-Control', NO_CACHE],
    ];
    if (problem.status === 401) headers.push(['WWW-Authenticate', 'Bearer realm="guidon"']);
    const retryAfterSeconds = this.retryAfterSeconds || (isRetryable(problem.code) ? 1 : 0);
    if (retryAfterSeconds > 0) headers.push(['Retry-After', String(retryAfterSeconds)]);
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
    if (status === 304) res.endWithoutBody(undefined, this.closesConnection);
    else if (this.isHead) res.endWithoutBody(0, this.closesConnection);
    else if (this.closesConnection || body.length === 0) res.end(body, this.closesConnection);
    else {
      const bytes = typeof body === 'string' ? Buffer.from(body) : body;
      const [, hasEnded] = res.tryEnd(bytes, bytes.length);
      // Who does not read what is wrong with his requests needs no more answers.
      if (!hasEnded) {
        this.drop();
        return;
      }
    }
    this.#ended();
  }
}

function isRetryable(code: ErrorCode): boolean {
  return ERROR_CODES[code].retryable && ERROR_CODES[code].status === 503;
}
