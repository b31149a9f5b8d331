import { PlatformError } from '@guidon/protocol';
import { findPosition, type Position, positionText, type StreamClose } from '@guidon/protocol/live-updates';
import { encodeBye } from '@guidon/protocol/msgpack';
import type { Caller } from '../auth/access-directory.js';
import { allowProblemToBeRead, answerPreflight } from '../cors.js';
import type { GetRequest, GetRoute, GetTarget } from '../get-route.js';
import { admit } from '../quota/admit.js';
import type { HeaderPair, Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { ResponseStream } from '../response-stream.js';
import { admitStream, assertStreamOrigin, type StreamParts } from './socket-route.js';
import type { StreamTransport } from './stream.js';

interface EventsCaller {
  readonly caller: Caller;
  readonly origin: string;
}

/** The context of a client key, base64url of JSON, and a token in place of the key: bare EventSource sets no headers. */
const QUERY = { parameters: ['context', 'streamToken', 'lastEventId'], urlBytes: 7 * 1024 } as const;
const HEADERS: readonly HeaderPair[] = [
  ['Content-Type', 'text/event-stream'],
  ['Cache-Control', 'no-cache, no-transform'],
  ['X-Accel-Buffering', 'no'],
];
/** Until a `bye` says otherwise. */
const FIRST_RETRY_MS = 2_000;

/**
 * `GET /v1/stream/sse`: the messages of a JSON stream as events, `id:` being `<epoch>.<revision>`. Resumes by `Last-Event-ID`. There is no hello and no
 * acknowledgement: what the socket took counts as applied, and the client's next `Last-Event-ID` says what it really has.
 */
export class StreamEventsRoute implements GetRoute<EventsCaller> {
  readonly path = '/v1/stream/sse';
  readonly query = QUERY;
  readonly #parts: StreamParts;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply, { query }: GetTarget): EventsCaller {
    const { hub, directory, ledger, now } = this.#parts;
    allowProblemToBeRead(head, reply);
    admitStream(hub, reply);
    const token = query.get('streamToken');
    const caller =
      token === undefined ? directory.authenticate(head, now) : directory.authenticateToken(token, 'sse', now);
    assertStreamOrigin(caller, head.origin, reply);
    admit(ledger, caller, reply);
    return { caller, origin: head.origin };
  }

  handle({ caller: { caller, origin }, target, reply }: GetRequest<EventsCaller>): undefined {
    const { hub } = this.#parts;
    const since = sinceOf(target);
    const context = contextOf(target, caller);
    // Before the 200: what is wrong with it is a problem document.
    const values = hub.valuesFor(caller, context);
    const body = reply.stream(HEADERS);
    const stream = hub.open(caller, new EventsTransport(body), origin);
    body.listen(
      () => hub.taken(stream),
      () => hub.left(stream),
    );
    body.write(`retry: ${FIRST_RETRY_MS}\n\n`);
    hub.begin(stream, since, values);
    return undefined;
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }
}

class EventsTransport implements StreamTransport {
  readonly kind = 'sse';
  readonly format = 'json';
  readonly #body: ResponseStream;

  constructor(body: ResponseStream) {
    this.#body = body;
  }

  get bufferedBytes(): number {
    return this.#body.isBlocked ? 1 : 0;
  }

  /** True when the socket took it: then it counts as applied. */
  send(frame: Uint8Array, at: Position): boolean {
    this.#body.write(`id: ${positionText(at)}\ndata: `);
    this.#body.write(frame);
    return this.#body.write('\n\n') && !this.#body.isBlocked;
  }

  end({ reason }: StreamClose, reconnectAfterMs: number): void {
    if (this.#body.isBlocked) {
      this.#body.drop();
      return;
    }
    this.#body.write(`retry: ${reconnectAfterMs}\ndata: `);
    this.#body.write(encodeBye('json', reason, reconnectAfterMs));
    this.#body.write('\n\n');
    this.#body.end();
  }
}

/** `Last-Event-ID` is the client's own memory: one that is none of ours means that it has nothing. */
function sinceOf({ lastEventId, query }: GetTarget): Position | undefined {
  return findPosition(lastEventId === '' ? (query.get('lastEventId') ?? '') : lastEventId);
}

function contextOf({ query }: GetTarget, { entry }: Caller): unknown {
  const text = query.get('context');
  if (text === undefined) return undefined;
  if (entry.kind !== 'web') throw malformedContext('is for client keys');
  if (!/^[A-Za-z0-9_-]*={0,2}$/.test(text)) throw malformedContext('must be base64url of JSON');
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'base64url')));
  } catch {
    throw malformedContext('must be base64url of JSON');
  }
}

function malformedContext(detail: string): PlatformError {
  return new PlatformError('validation-failed', `context ${detail}`, {
    issues: [{ pointer: '/context', code: 'validation-failed', detail }],
  });
}
