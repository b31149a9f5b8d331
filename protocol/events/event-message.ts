import { type EnvironmentRef, parseEnvironmentRef } from '../environment-ref.js';
import { EVENT_LIMITS } from '../limits.js';
import { PlatformError } from '../platform-error.js';
import type { Event, RefusedEvent, SdkIdentity } from './event.js';
import { FieldReader } from './field-reader.js';
import { parseEvents, parseSdk, refusingBatch } from './parse-event-batch.js';

/**
 * Who evaluated: `node` = the node itself, counted by its kernel; `srv` = an SDK that evaluates in its own process; `web` = a client that a node
 * evaluates for, so that its summaries count again what the node has counted.
 */
export type EventOrigin = (typeof EVENT_ORIGINS)[number];
export const EVENT_ORIGINS = ['node', 'srv', 'web'] as const;

/**
 * Events of one environment on their way from a node to the control plane, over the bus or HTTP: JSON, one message a line where there are several.
 * The node has checked them; whoever takes them checks them again, since the node may be of another build.
 */
export interface EventMessage {
  readonly environment: EnvironmentRef;
  readonly origin: EventOrigin;
  /** Epoch milliseconds, of the node's clock. */
  readonly receivedAt: number;
  readonly sdk?: SdkIdentity;
  readonly events: readonly Event[];
}

/** Stands for a flag in a summary of a node whose kernel was asked for one that is not there: it counts such answers without their names. */
export const UNNAMED_FLAG = '?';

export type ReceivedEvents = EventMessage & { readonly refused: readonly RefusedEvent[] };

export function encodeEventMessage(message: EventMessage): string {
  return JSON.stringify(message);
}

/** Throws `malformed-body`, `validation-failed` or `limit-exceeded` when nothing of it can be used. */
export function decodeEventMessage(text: string): ReceivedEvents {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PlatformError('malformed-body', 'a message of events is not JSON', { cause });
  }
  return refusingBatch(() => {
    const fields = new FieldReader(value, '');
    const origin = EVENT_ORIGINS.find((candidate) => candidate === fields.value('origin'));
    if (origin === undefined) throw fields.fault('origin', `must be ${EVENT_ORIGINS.join(', ')}`);
    const ids = fields.value('environment');
    return {
      environment: parseEnvironmentRef(typeof ids === 'object' && ids !== null ? ids : {}),
      origin,
      receivedAt: fields.whole('receivedAt', 0, Number.MAX_SAFE_INTEGER),
      ...fields.optional('sdk', (name) => parseSdk(fields.value(name), fields.pointerOf(name))),
      ...parseEvents(fields.list('events', EVENT_LIMITS.eventsPerBatch)),
    };
  });
}

/** Whose events a line holds, for whoever carries it. Throws as decodeEventMessage does. */
export function environmentOfLine(line: string): EnvironmentRef {
  return decodeEventMessage(line).environment;
}

/** Of what a node posts at once: a segment of its spool, and the largest message that may be the last of it. */
export const EVENT_LINES_BYTES_MAX = 4 * 1024 * 1024;

/** The lines of such a body. */
export function eventLines(body: string): string[] {
  return body.split('\n').filter((line) => line !== '');
}
