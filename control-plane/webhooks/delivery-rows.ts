import type { FeedAudience } from '../feed/feed-row.js';
import type { FeedViewer } from '../feed/feed-view.js';
import type { AttemptOutcome } from './send-request.js';

/** Row under `keys.webhookState`: how far an endpoint has got. The queue is the feed itself, so this is all that a kill must not lose. */
export interface WebhookState {
  /** Sequence of the last event that is done with: delivered, or not for this endpoint. */
  readonly cursor: number;
  /** Of the last one delivered; 0 = none yet. */
  readonly deliveredSequence: number;
  /** Attempts so far for the first event behind the cursor that is for this endpoint; absent: none. */
  readonly attempt?: {
    readonly count: number;
    readonly nextAt: number;
    /** Of the endpoint when it was made: enabled again since, it begins anew. */
    readonly enabledAt: number;
  };
  /** Events sent again on somebody's order, whichever comes next; absent: none under way. */
  readonly redelivery?: { readonly orderId: string; readonly next: number };
  /** The number that the next entry of the log gets. */
  readonly logNext: number;
}

/** Row under `keys.webhookRedelivery`: send the events of this range that are for the endpoint once more. */
export interface RedeliveryOrder {
  readonly orderId: string;
  readonly from: number;
  readonly to: number;
  readonly at: number;
}

/** Row under `keys.webhookDelivery`: one attempt. */
export interface DeliveryRow {
  readonly number: number;
  readonly kind: 'event' | 'redelivery' | 'test' | 'policy';
  /** Epoch milliseconds, its start. */
  readonly at: number;
  readonly messageId: string;
  readonly type: string;
  /** Of the event in the feed; 0 for tests and questions. */
  readonly sequence: number;
  /** 1 for the first. */
  readonly attempt: number;
  readonly outcome: AttemptOutcome;
  readonly latencyMs: number;
  readonly detail: string;
  /** When the next attempt is due; null: none follows. */
  readonly nextAt: number | null;
  /** Who may read the bodies: whoever belongs to all of these. Absent: nobody, for there were too many, or it is of an earlier build. */
  readonly audiences?: readonly FeedAudience[];
  readonly request: {
    readonly method: string;
    readonly url: string;
    /** Without what authorises at a cache. */
    readonly headers: Readonly<Record<string, string>>;
    /** Cut to LOGGED_BODY_BYTES_MAX. */
    readonly body: string;
    readonly bodyBytes: number;
  };
  /** null: there was none. */
  readonly response: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  } | null;
}

export const LOGGED_BODY_BYTES_MAX = 2 * 1024;
const LOGGED_HEADERS_MAX = 32;
const LOGGED_HEADER_CHARS_MAX = 256;
/** Attempts that are kept per endpoint, and for how long; what is first. */
export const DELIVERIES_MAX = 500;
export const DELIVERY_RETENTION_MS = 14 * 24 * 3_600_000;

/** Headers of an answer as far as a log has place for them. */
export function loggedHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const entries = Object.entries(headers).slice(0, LOGGED_HEADERS_MAX);
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value).slice(0, LOGGED_HEADER_CHARS_MAX)]));
}

/** The start of a body as text: what is cut in the middle of a character ends in U+FFFD. */
export function loggedBody(body: Buffer): string {
  return body.subarray(0, LOGGED_BODY_BYTES_MAX).toString('utf8');
}

/** A change of more things than these is shown to nobody. */
const AUDIENCES_MAX = 50;

/** What a row keeps of who may read its bodies. */
export function keptAudiences(audiences: readonly FeedAudience[]): Pick<DeliveryRow, 'audiences'> {
  const distinct = new Map(audiences.map((audience) => [JSON.stringify(audience), audience]));
  return distinct.size > AUDIENCES_MAX ? {} : { audiences: [...distinct.values()] };
}

/** An attempt as somebody sees it: what was sent tells of things that he may not be allowed to read, and an answer may repeat it. */
export interface ShownDelivery extends Omit<DeliveryRow, 'audiences'> {
  readonly isHidden: boolean;
}

export function viewDelivery({ audiences, ...row }: DeliveryRow, viewer: FeedViewer): ShownDelivery {
  if (audiences?.every((audience) => viewer.sees(audience)) === true) return { ...row, isHidden: false };
  const { request, response } = row;
  return {
    ...row,
    detail: '',
    request: { ...request, body: '' },
    response: response && { ...response, headers: {}, body: '' },
    isHidden: true,
  };
}
