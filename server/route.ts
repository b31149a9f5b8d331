import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from 'uWebSockets.js';
import assert from 'node:assert';
import type { BodyFormat } from '@guidon/engine';
import { PlatformError, type Problem } from '@guidon/protocol';
import {
  type GetRoute,
  type GetTarget,
  NO_TARGET,
  type PostTarget,
  readPostTarget,
  readTarget,
  refuseGet,
  type SocketRoute,
} from './get-route.js';
import { HeldAnswers } from './held-answers.js';
import { answerFormat, findBodyFormat } from './media-type.js';
import { QuotaLedger } from './quota/quota-ledger.js';
import { Reply } from './reply.js';
import { HEADER_LIMITS, type KnownQuery, type Refusal, RequestHead, refuseUrl } from './request-head.js';
import { RouteCounters } from './route-counters.js';

/** One POST endpoint. `Caller` is what `authorize` found out about the sender. */
export interface Route<Caller> {
  /** May end in one parameter, `/:name`. */
  readonly path: string;
  /** A route with it, or with a parameter, is given what is asked for beside the body; the others are not, which costs less. */
  readonly query?: Partial<KnownQuery>;
  readonly bodyBytesMax: number;
  /** `text/plain`, which browsers send without asking leave, and lines of JSON are taken too. */
  readonly takesText?: boolean;
  /** Runs before the body is read, synchronously; throws PlatformError to refuse. May add headers to `reply`. */
  authorize(head: RequestHead, reply: Reply, target: PostTarget): Caller;
  /**
   * Answers through `reply`, at once or after the returned promise's work. `body` is borrowed: copy what must outlive the
   * synchronous part (M12: uWS empties the buffer). A throw becomes a problem document.
   */
  handle(request: RouteRequest<Caller>): Promise<void> | undefined;
  /** Answers a CORS preflight; without it OPTIONS is 405. */
  preflight?(head: RequestHead, reply: Reply): void;
  /** Words the problems of a route that has to word them in its own way. `parameter`: of the path, as it came. */
  problem?(problem: Problem, parameter: string): Problem;
}

export interface RouteRequest<Caller> {
  readonly caller: Caller;
  readonly target: PostTarget;
  /** Of the body; what to answer in is `reply.format`. */
  readonly format: BodyFormat;
  readonly body: Uint8Array;
  readonly reply: Reply;
}

export interface RouterOptions {
  /** A handler that has not answered after this long is answered for with 503 `timeout` (M14). */
  readonly responseDeadlineMs?: number;
  /** Where answers wait that their clients do not read. */
  readonly held?: HeldAnswers;
  /** Told of each connection that ended as a WebSocket: uWS counts such a one in and never out. */
  readonly onSocketClosed?: () => void;
  /** Told of each failure that is ours, with the request id, for the log. */
  readonly onError: (error: unknown, requestId: string, path: string) => void;
}

const RESPONSE_DEADLINE_MS = 5_000;
const SWEEP_INTERVAL_MS = 100;
/** Requests that answer later, all connections together (I25). */
const PENDING_COUNT_MAX = 4_096;

interface Pending {
  readonly reply: Reply;
  readonly counters: RouteCounters;
  readonly deadlineAt: number;
}

/**
 * The only way to register a uWS route (M12-M15, I26). It registers `onAborted` first, reads everything it needs of the request before
 * anything else runs, refuses what two parsers could read differently, caps headers, URL and body, and makes sure that each
 * request is answered exactly once, whatever its handler does.
 */
export class Router {
  readonly counters: RouteCounters[] = [];
  readonly held: HeldAnswers;
  readonly #app: TemplatedApp;
  readonly #options: RouterOptions;
  readonly #head = new RequestHead();
  readonly #pending = new Set<Pending>();
  readonly #sweep: NodeJS.Timeout;
  readonly #methods = new Map<string, string[]>();
  #isDraining = false;

  constructor(app: TemplatedApp, options: RouterOptions) {
    this.#app = app;
    this.#options = options;
    this.held = options.held ?? new HeldAnswers(new QuotaLedger());
    this.#sweep = setInterval(() => this.#endOverdue(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  add<Caller>(route: Route<Caller>): void {
    const counters = this.#countersOf(route.path);
    const methods = ['POST'];
    this.#methods.set(route.path, methods);
    const isTargeted = route.query !== undefined || route.path.includes('/:');
    this.#app.post(route.path, (res, req) => this.#serve(route, isTargeted, counters, res, req));
    if (route.preflight !== undefined) {
      methods.push('OPTIONS');
      this.#app.options(route.path, (res, req) => {
        this.#answerBare(counters, res, req, (reply) => route.preflight?.(this.#head, reply));
      });
    }
  }

  addGet<Caller>(route: GetRoute<Caller>): void {
    const counters = this.#countersOf(route.path);
    this.#methods.set(route.path, route.preflight === undefined ? ['GET'] : ['GET', 'OPTIONS']);
    this.#app.get(route.path, (res, req) => this.#serveGet(route, counters, res, req));
    if (route.preflight === undefined) return;
    this.#app.options(route.path, (res, req) => {
      this.#answerBare(counters, res, req, (reply) => route.preflight?.(this.#head, reply));
    });
  }

  /** A GET of its path that asks for no upgrade is answered 426. */
  addSocket<Data>(route: SocketRoute<Data>, { messageBytesMax }: { readonly messageBytesMax: number }): void {
    const counters = this.#countersOf(route.path);
    this.#methods.set(route.path, ['GET']);
    const guarded =
      <Arguments extends readonly unknown[]>(callback: (socket: WebSocket<Data>, ...rest: Arguments) => void) =>
      (socket: WebSocket<Data>, ...rest: Arguments): void => {
        try {
          callback(socket, ...rest);
        } catch (error) {
          this.#options.onError(error, '', route.path);
          socket.close();
        }
      };
    this.#app.ws<Data>(route.path, {
      // No message is compressed: what is sent once to thousands would be compressed for each, and bombs stay out.
      compression: 0,
      maxPayloadLength: messageBytesMax,
      // What a client does not take is bounded by whoever sends (M15), not by losing messages.
      maxBackpressure: 0,
      idleTimeout: 60,
      upgrade: (res, req, context) => this.#upgrade(route, counters, res, req, context),
      open: guarded((socket) => route.open(socket)),
      message: guarded((socket, message: ArrayBuffer) => route.message(socket, message)),
      ping: guarded((socket) => route.ping(socket)),
      drain: guarded((socket) => route.drain(socket)),
      close: (socket) => {
        this.#options.onSocketClosed?.();
        try {
          route.close(socket);
        } catch (error) {
          this.#options.onError(error, '', route.path);
        }
      },
    });
    this.#app.get(route.path, (res, req) => {
      this.#answerBare(counters, res, req, (reply) => {
        reply.extraHeaders = [...(reply.extraHeaders ?? []), ['Upgrade', 'websocket']];
        reply.fail(new PlatformError('upgrade-required', 'This endpoint is a WebSocket.'));
      });
    });
  }

  /** Registers 405 for the other methods of each path and 404 for everything else. Call once, last. */
  seal(): void {
    for (const [path, methods] of this.#methods) {
      this.#app.any(path, (res, req) => {
        this.#answerBare(this.#countersOf(path), res, req, (reply) => {
          reply.extraHeaders = [...(reply.extraHeaders ?? []), ['Allow', methods.join(', ')]];
          reply.fail(new PlatformError('method-not-allowed', `Use ${methods.join(' or ')}.`));
        });
      });
    }
    const counters = this.#countersOf('*');
    this.#app.any('/*', (res, req) => {
      this.#answerBare(counters, res, req, (reply) => {
        reply.fail(new PlatformError('not-found', 'There is no such endpoint.'));
      });
    });
  }

  /** From now on every answer closes its connection; resolves when nothing is pending or held, or after `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    this.#isDraining = true;
    const endsAt = performance.now() + deadlineMs;
    while (this.#pending.size + this.held.count > 0 && performance.now() < endsAt) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    clearInterval(this.#sweep);
  }

  #countersOf(path: string): RouteCounters {
    const known = this.counters.find((counters) => counters.path === path);
    if (known !== undefined) return known;
    const counters = new RouteCounters(path);
    this.counters.push(counters);
    return counters;
  }

  /** A request whose body, if any, nobody reads. */
  #answerBare(counters: RouteCounters, res: HttpResponse, req: HttpRequest, answer: (reply: Reply) => void): void {
    const reply = new Reply(res, counters, this.held);
    res.onAborted(() => reply.abort());
    counters.receive();
    reply.closesConnection = this.#isDraining;
    reply.isHead = req.getMethod() === 'head';
    const refusal = this.#head.read(req) ?? refuseUrl(req.getUrl(), queryOf(req));
    reply.format = answerFormat(this.#head.accept, findBodyFormat(this.#head.contentType) ?? 'json');
    try {
      if (refusal !== undefined && refusal.code !== 'unknown-parameter') refuse(reply, refusal);
      else answer(reply);
    } catch (error) {
      this.#failed(error, reply, counters);
    }
    assert(!reply.isOpen || reply.isDetached, 'a bare route answers at once, or for the last time');
  }

  #serve<Caller>(
    route: Route<Caller>,
    isTargeted: boolean,
    counters: RouteCounters,
    res: HttpResponse,
    req: HttpRequest,
  ): void {
    const reply = new Reply(res, counters, this.held);
    res.onAborted(() => reply.abort());
    const startedAt = counters.receive();
    reply.closesConnection = this.#isDraining;
    const head = this.#head;
    const query = queryOf(req);
    const target = isTargeted ? readPostTarget(req, query, route.path.includes('/:')) : NO_TARGET;
    const refusal = head.read(req) ?? (isTargeted || query !== '' ? refuseTarget(route, req, query) : undefined);
    if (route.problem !== undefined) reply.wording = (problem) => route.problem?.(problem, target.parameter) ?? problem;
    const bodyFormat = findBodyFormat(head.contentType, route.takesText);
    const format = bodyFormat ?? 'json';
    reply.format = answerFormat(head.accept, format);
    if (refusal !== undefined) {
      refuse(reply, refusal);
      return;
    }
    // Without a length the rest of the stream cannot be told from a next request.
    if (head.contentLength < 0) {
      reply.failLast(new PlatformError('length-required', 'Send Content-Length.'));
      return;
    }
    let caller: Caller;
    try {
      assertBody(head, bodyFormat, route.bodyBytesMax);
      caller = route.authorize(head, reply, target);
    } catch (error) {
      if (reply.closesConnection && error instanceof PlatformError) reply.failLast(error);
      else this.#failed(error, reply, counters);
      return;
    }
    let received: Uint8Array[] | undefined;
    let receivedBytes = 0;
    const announcedBytes = head.contentLength;
    res.onData((chunk, isLast) => {
      if (!reply.isOpen) return;
      receivedBytes += chunk.byteLength;
      if (receivedBytes > route.bodyBytesMax || (isLast && receivedBytes !== announcedBytes)) {
        reply.fail(new PlatformError('payload-too-large', 'The body is longer than announced or accepted.'));
        return;
      }
      if (!isLast) {
        received ??= [];
        received.push(new Uint8Array(chunk.slice(0)));
        return;
      }
      let body = new Uint8Array(chunk);
      if (received !== undefined) {
        received.push(body);
        body = Buffer.concat(received, receivedBytes);
      }
      this.#run(() => route.handle({ caller, target, format, body, reply }), counters, reply, startedAt);
    });
  }

  #serveGet<Caller>(route: GetRoute<Caller>, counters: RouteCounters, res: HttpResponse, req: HttpRequest): void {
    const reply = new Reply(res, counters, this.held);
    res.onAborted(() => reply.abort());
    const startedAt = counters.receive();
    const target = this.#readGet(route.path, route.query, reply, req);
    if (target === undefined) return;
    let caller: Caller;
    try {
      caller = route.authorize(this.#head, reply, target);
    } catch (error) {
      this.#failed(error, reply, counters);
      return;
    }
    this.#run(() => route.handle({ caller, target, reply }), counters, reply, startedAt);
  }

  #upgrade<Data>(
    route: SocketRoute<Data>,
    counters: RouteCounters,
    res: HttpResponse,
    req: HttpRequest,
    context: us_socket_context_t,
  ): void {
    const reply = new Reply(res, counters, this.held);
    res.onAborted(() => reply.abort());
    counters.receive();
    const target = this.#readGet(route.path, route.query, reply, req);
    if (target === undefined) return;
    const key = req.getHeader('sec-websocket-key');
    const extensions = req.getHeader('sec-websocket-extensions');
    try {
      const { data, protocol } = route.accept(this.#head, reply, target);
      reply.upgraded();
      res.upgrade(data, key, protocol, extensions, context);
    } catch (error) {
      this.#failed(error, reply, counters);
    }
  }

  /** Undefined: it is answered. */
  #readGet(path: string, query: GetRoute<unknown>['query'], reply: Reply, req: HttpRequest): GetTarget | undefined {
    reply.closesConnection = this.#isDraining;
    const queryText = queryOf(req);
    const refusal = this.#head.read(req) ?? refuseGet(req, queryText, this.#head, query);
    reply.format = answerFormat(this.#head.accept, 'json');
    if (refusal === undefined) return readTarget(req, queryText, path.includes('/:'));
    refuse(reply, refusal);
    return undefined;
  }

  #run(handle: () => Promise<void> | undefined, counters: RouteCounters, reply: Reply, startedAt: number): void {
    try {
      const later = handle();
      if (later === undefined) {
        assert(!reply.isOpen, 'a handler answers before it returns or returns a promise');
        counters.finished(startedAt);
        return;
      }
      this.#follow(later, counters, reply, startedAt);
    } catch (error) {
      this.#failed(error, reply, counters);
    }
  }

  /** The handler answers later: it gets a deadline, and a failure of its promise is an answer too. */
  #follow(later: Promise<void>, counters: RouteCounters, reply: Reply, startedAt: number): void {
    if (!reply.isOpen) {
      later.catch((error: unknown) => this.#options.onError(error, reply.requestId, counters.path));
      return;
    }
    const deadlineMs = this.#options.responseDeadlineMs ?? RESPONSE_DEADLINE_MS;
    const pending: Pending = { reply, counters, deadlineAt: performance.now() + deadlineMs };
    if (this.#pending.size >= PENDING_COUNT_MAX) {
      reply.fail(new PlatformError('overloaded', 'Too many requests are waiting.'));
    }
    this.#pending.add(pending);
    // uWS closes the connection inside this same turn when another request is already behind this one in the socket's buffer.
    let isSameTurn = true;
    setImmediate(() => {
      isSameTurn = false;
    });
    reply.isDetached = true;
    const finish = (): void => {
      this.#pending.delete(pending);
      counters.finished(startedAt);
      if (reply.isAborted && isSameTurn) counters.pipelined += 1;
    };
    if (reply.isOpen) reply.onFinish(finish);
    else finish();
    later.then(
      () => {
        if (reply.isOpen) this.#failed(new Error('the handler ended without an answer'), reply, counters);
      },
      (error: unknown) => this.#failed(error, reply, counters),
    );
  }

  #failed(error: unknown, reply: Reply, counters: RouteCounters): void {
    if (!(error instanceof PlatformError)) this.#options.onError(error, reply.requestId, counters.path);
    reply.fail(error);
  }

  #endOverdue(): void {
    const now = performance.now();
    this.held.dropOverdue(now);
    for (const { reply, counters, deadlineAt } of this.#pending) {
      if (deadlineAt > now) continue;
      counters.timeouts += 1;
      reply.fail(new PlatformError('timeout', 'The answer took too long.'));
    }
  }
}

function assertBody(head: RequestHead, format: BodyFormat | undefined, bytesMax: number): void {
  if (head.contentEncoding !== '' && head.contentEncoding !== 'identity') {
    throw new PlatformError('unsupported-media-type', 'A Content-Encoding is not accepted.');
  }
  if (format === undefined) {
    throw new PlatformError('unsupported-media-type', 'Send application/msgpack or application/json.');
  }
  if (head.contentLength > bytesMax) {
    throw new PlatformError('payload-too-large', `The body may have ${bytesMax} bytes.`);
  }
}

function refuse(reply: Reply, { code, detail, close }: Refusal): void {
  const error = new PlatformError(code, detail);
  if (close) reply.failLast(error);
  else reply.fail(error);
}

function refuseTarget(route: Pick<Route<unknown>, 'query'>, req: HttpRequest, query: string): Refusal | undefined {
  return refuseUrl(req.getUrl(), query, { parameters: [], urlBytes: HEADER_LIMITS.urlBytes, ...route.query });
}

function queryOf(req: HttpRequest): string {
  // The typings say string; without a `?` the native call returns undefined.
  const query: string | undefined = req.getQuery();
  return query ?? '';
}
