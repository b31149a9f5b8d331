import { encodeMsgpack } from '@guidon/engine';
import { EVENT_LIMITS, type Json } from '@guidon/protocol';
import { type EventOrigin, type EventsAnswer, encodeEventMessage, parseEventBatch } from '@guidon/protocol/events';
import type { Caller } from '../auth/access-directory.js';
import { type AuthorizeParts, authorizeCaller } from '../auth/authorize-caller.js';
import { allowProblemToBeRead, answerPreflight, assertOrigin } from '../cors.js';
import type { PostTarget } from '../get-route.js';
import { MEDIA_TYPES } from '../media-type.js';
import { admit } from '../quota/admit.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import { decodeBody } from '../routes/request-body.js';
import type { EventSpool } from './event-spool.js';

export interface EventsParts extends AuthorizeParts {
  readonly spool: EventSpool;
}

/**
 * `POST /v1/events`: exposures, metric events and summaries. 202 once they are in the spool, with those that were not taken and why. A page that is
 * being left sends with `sendBeacon`, which sets no header: it shows a token for `events` in the query, and may send JSON as text/plain, for which
 * browsers ask no leave first.
 */
export class EventsRoute implements Route<Caller> {
  readonly path = '/v1/events';
  readonly bodyBytesMax = EVENT_LIMITS.bodyBytes;
  readonly query = { parameters: ['streamToken'], urlBytes: 1_024 } as const;
  readonly takesText = true;
  readonly #parts: EventsParts;

  constructor(parts: EventsParts) {
    this.#parts = parts;
  }

  authorize(head: RequestHead, reply: Reply, { query }: PostTarget): Caller {
    const { directory, ledger, now } = this.#parts;
    const token = query.get('streamToken');
    if (token === undefined) return authorizeCaller(this.#parts, head, reply);
    allowProblemToBeRead(head, reply);
    const caller = directory.authenticateToken(token, 'events', now);
    if (head.origin !== '') assertOrigin(caller.entry, head.origin, reply);
    admit(ledger, caller, reply);
    return caller;
  }

  preflight(_head: RequestHead, reply: Reply): void {
    answerPreflight(reply);
  }

  handle({ caller, format, body, reply }: RouteRequest<Caller>): Promise<void> | undefined {
    const { spool, now } = this.#parts;
    const { refused, events, ...batch } = parseEventBatch(decodeBody(body, format));
    const answer: EventsAnswer = { accepted: events.length, refused };
    if (events.length === 0) {
      answerWith(reply, answer);
      return undefined;
    }
    const { environment } = caller.slot;
    const message = { environment, origin: originOf(caller), receivedAt: now(), ...batch, events };
    return spool.append(`${encodeEventMessage(message)}\n`, events.length).then(() => answerWith(reply, answer));
  }
}

function originOf({ entry }: Caller): EventOrigin {
  return entry.kind === 'web' ? 'web' : 'srv';
}

function answerWith(reply: Reply, answer: EventsAnswer): void {
  const { accepted, refused } = answer;
  const value: Json = { accepted, refused: refused.map((entry) => ({ ...entry })) };
  reply.end(
    202,
    [
      ['Content-Type', MEDIA_TYPES[reply.format]],
      ['Cache-Control', 'private, no-store'],
    ],
    reply.format === 'msgpack' ? encodeMsgpack(value) : JSON.stringify(value),
  );
}
