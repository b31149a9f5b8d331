import { PlatformError } from '@guidon/protocol';
import { findPosition, type Position } from '@guidon/protocol/live-updates';
import type { Caller } from '../auth/access-directory.js';
import { allowProblemToBeRead, answerPreflight } from '../cors.js';
import type { GetRequest, GetRoute, GetTarget } from '../get-route.js';
import { admit } from '../quota/admit.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import { EVENTS_HEADERS, EventsTransport, FIRST_RETRY } from './events-transport.js';
import { admitStream, assertStreamOrigin, type StreamParts } from './socket-route.js';

interface EventsCaller {
  readonly caller: Caller;
  readonly origin: string;
}

/** The context of a client key, base64url of JSON, and a token in place of the key: bare EventSource sets no headers. */
const QUERY = { parameters: ['context', 'streamToken', 'lastEventId'], urlBytes: 7 * 1024 } as const;

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
    const body = reply.stream(EVENTS_HEADERS);
    const stream = hub.open(caller, new EventsTransport('sse', body), origin);
    body.listen(
      () => hub.taken(stream),
      () => hub.left(stream),
    );
    body.write(FIRST_RETRY);
    hub.begin(stream, since, values);
    return undefined;
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
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
