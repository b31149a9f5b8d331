import { PlatformError } from '@guidon/protocol';
import { decodeEventMessage, EVENT_LINES_BYTES_MAX, eventLines } from '@guidon/protocol/events';
import type { EventSpool } from '../events/event-spool.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { Route, RouteRequest } from '../route.js';
import type { DownstreamCredentials } from './downstream-credentials.js';

/** `POST /internal/v1/events` of a node: takes from those it feeds what they would send to a control plane, and sends it on with its own. */
export class DownstreamEventsRoute implements Route<undefined> {
  readonly path = '/internal/v1/events';
  readonly bodyBytesMax = EVENT_LINES_BYTES_MAX;
  readonly takesText = true;
  readonly #credentials: DownstreamCredentials;
  readonly #spool: EventSpool;

  constructor({ credentials, spool }: { readonly credentials: DownstreamCredentials; readonly spool: EventSpool }) {
    this.#credentials = credentials;
    this.#spool = spool;
  }

  authorize(head: RequestHead): undefined {
    this.#credentials.authenticate(head);
  }

  handle({ body, reply }: RouteRequest<undefined>): Promise<void> {
    const lines = eventLines(Buffer.from(body).toString('utf8'));
    // What no control plane would take must not hold up what is behind it.
    const taken = lines.filter((line) => isMessage(line));
    const eventCount = taken.reduce((sum, line) => sum + decodeEventMessage(line).events.length, 0);
    return this.#spool.append(taken.map((line) => `${line}\n`).join(''), eventCount).then(() => answered(reply));
  }
}

function answered(reply: Reply): void {
  reply.end(204, [], '');
}

function isMessage(line: string): boolean {
  try {
    decodeEventMessage(line);
    return true;
  } catch (error) {
    if (error instanceof PlatformError) return false;
    throw error;
  }
}
