import { findPosition } from '@guidon/protocol/live-updates';
import type { Caller } from '../auth/access-directory.js';
import { allowProblemToBeRead, answerPreflight } from '../cors.js';
import type { GetRequest, GetRoute, GetTarget } from '../get-route.js';
import { admit } from '../quota/admit.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import { EVENTS_HEADERS, EventsTransport, FIRST_RETRY } from '../stream/events-transport.js';
import { admitStream, assertStreamOrigin, type StreamParts } from '../stream/socket-route.js';

interface StreamCaller {
  readonly caller: Caller;
  readonly origin: string;
}

/**
 * `GET /ofrep/v1/stream`: `refetchEvaluation` events, each with the position to ask for as its `etag` and `id`. It says nothing of any flag. The URL is
 * that of a bulk answer's `eventStreams`, with a token in place of the key; `Last-Event-ID` goes before its `since`.
 */
export class OfrepStreamRoute implements GetRoute<StreamCaller> {
  readonly path = '/ofrep/v1/stream';
  readonly query = { parameters: ['streamToken', 'since'] } as const;
  readonly #parts: StreamParts;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply, { query }: GetTarget): StreamCaller {
    const { hub, directory, ledger, now } = this.#parts;
    allowProblemToBeRead(head, reply);
    admitStream(hub, reply);
    const token = query.get('streamToken');
    const caller =
      token === undefined ? directory.authenticate(head, now) : directory.authenticateToken(token, 'refetch', now);
    assertStreamOrigin(caller, head.origin, reply);
    admit(ledger, caller, reply);
    return { caller, origin: head.origin };
  }

  handle({ caller: { caller, origin }, target, reply }: GetRequest<StreamCaller>): undefined {
    const { hub } = this.#parts;
    const { lastEventId, query } = target;
    const body = reply.stream(EVENTS_HEADERS);
    const stream = hub.open(caller, new EventsTransport('refetch', body), origin);
    body.listen(
      () => hub.taken(stream),
      () => hub.left(stream),
    );
    body.write(FIRST_RETRY);
    // Who does not say what it has may have anything, and is told to ask.
    hub.begin(stream, findPosition(lastEventId === '' ? (query.get('since') ?? '') : lastEventId), undefined);
    return undefined;
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }
}
