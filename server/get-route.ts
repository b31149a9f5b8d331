import type { HttpRequest, WebSocket } from 'uWebSockets.js';
import type { Reply } from './reply.js';
import { HEADER_LIMITS, type KnownQuery, REFUSALS, type Refusal, type RequestHead, refuseUrl } from './request-head.js';

/** One GET endpoint: it takes no body and may answer 304. */
export interface GetRoute<Caller> {
  /** May end in one parameter, `/:name`. */
  readonly path: string;
  readonly query?: Partial<KnownQuery>;
  /** Runs synchronously; throws PlatformError to refuse. May add headers to `reply`. */
  authorize(head: RequestHead, reply: Reply, target: GetTarget): Caller;
  /** Answers through `reply`, at once or after the returned promise's work, or begins a stream at once. */
  handle(request: GetRequest<Caller>): Promise<void> | undefined;
  /** Answers a CORS preflight; without it OPTIONS is 405. */
  preflight?(head: RequestHead, reply: Reply): void;
}

export interface GetRequest<Caller> {
  readonly caller: Caller;
  readonly target: GetTarget;
  readonly reply: Reply;
}

/** One WebSocket endpoint. Whatever a callback throws ends its socket and nothing else. */
export interface SocketRoute<Data> {
  readonly path: string;
  readonly query?: Partial<KnownQuery>;
  /** Runs synchronously; throws PlatformError to refuse with a problem document. The protocol is one of those offered, or ''. */
  accept(head: RequestHead, reply: Reply, target: GetTarget): { readonly data: Data; readonly protocol: string };
  open(socket: WebSocket<Data>): void;
  /** `message` is borrowed: uWS empties it when this returns. */
  message(socket: WebSocket<Data>, message: ArrayBuffer): void;
  ping(socket: WebSocket<Data>): void;
  drain(socket: WebSocket<Data>): void;
  close(socket: WebSocket<Data>): void;
}

/** What a GET asks for, copied: it outlives the turn. */
export interface GetTarget {
  /** The path's own; '' without one. */
  readonly parameter: string;
  readonly query: ReadonlyMap<string, string>;
  readonly ifNoneMatch: string;
  readonly acceptEncoding: string;
  readonly lastEventId: string;
  /** Subprotocols that are offered, in order of preference. */
  readonly protocols: readonly string[];
}

/** What a POST asks for beside its body, copied. */
export type PostTarget = Pick<GetTarget, 'parameter' | 'query' | 'ifNoneMatch'>;

/** `queryText`: without its `?`. */
export function refuseGet(
  req: HttpRequest,
  queryText: string,
  head: RequestHead,
  { parameters = [], urlBytes = HEADER_LIMITS.urlBytes }: Partial<KnownQuery> = {},
): Refusal | undefined {
  // A cache that ignores a body would keep an answer to it (threat model 2.2).
  if (head.contentLength > 0) return REFUSALS.fatGet;
  return refuseUrl(req.getUrl(), queryText, { parameters, urlBytes });
}

export function readTarget(req: HttpRequest, queryText: string, hasParameter: boolean): GetTarget {
  const offered = req.getHeader('sec-websocket-protocol');
  return {
    parameter: hasParameter ? req.getParameter(0) : '',
    query: queryOf(queryText),
    ifNoneMatch: req.getHeader('if-none-match'),
    acceptEncoding: req.getHeader('accept-encoding'),
    lastEventId: req.getHeader('last-event-id'),
    protocols: offered === '' ? [] : offered.split(',').map((protocol) => protocol.trim()),
  };
}

export function readPostTarget(req: HttpRequest, queryText: string, hasParameter: boolean): PostTarget {
  return {
    parameter: hasParameter ? req.getParameter(0) : '',
    query: queryOf(queryText),
    ifNoneMatch: req.getHeader('if-none-match'),
  };
}

const NO_QUERY: ReadonlyMap<string, string> = new Map();
/** Of a route that takes nothing but a body. */
export const NO_TARGET: PostTarget = { parameter: '', query: NO_QUERY, ifNoneMatch: '' };

const queryOf = (text: string): ReadonlyMap<string, string> =>
  text === '' ? NO_QUERY : new Map(new URLSearchParams(text));
