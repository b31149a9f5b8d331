import { EVENT_LIMITS } from '../limits.js';
import { PlatformError } from '../platform-error.js';
import type { Event, RefusedEvent, SdkIdentity } from './event.js';
import { EventFault, FieldReader } from './field-reader.js';
import { parseEvent } from './parse-event.js';

export interface ParsedBatch {
  readonly sdk?: SdkIdentity;
  readonly events: readonly Event[];
  readonly refused: readonly RefusedEvent[];
}

/**
 * Reads the body of `POST /v1/events`. One bad event never fails its batch: it is in `refused`, with a JSON pointer to what is wrong with it. Throws
 * `validation-failed` or `limit-exceeded` for what is wrong with the batch itself.
 */
export function parseEventBatch(value: unknown): ParsedBatch {
  return refusingBatch(() => {
    const fields = new FieldReader(value, '');
    const sdk = fields.optional('sdk', (name) => parseSdk(fields.value(name), fields.pointerOf(name)));
    const list = fields.list('events', EVENT_LIMITS.eventsPerBatch);
    fields.done();
    return { ...sdk, ...parseEvents(list) };
  });
}

/** The good and the bad ones of a list. */
export function parseEvents(list: readonly unknown[]): { events: Event[]; refused: RefusedEvent[] } {
  const events: Event[] = [];
  const refused: RefusedEvent[] = [];
  for (const [index, entry] of list.entries()) {
    try {
      events.push(parseEvent(entry, `/events/${index}`));
    } catch (error) {
      if (!(error instanceof EventFault)) throw error;
      refused.push({ index, code: error.code, pointer: error.pointer, detail: error.message });
    }
  }
  return { events, refused };
}

export function parseSdk(value: unknown, pointer: string): SdkIdentity {
  const fields = new FieldReader(value, pointer);
  const sdk = {
    name: fields.text('name', EVENT_LIMITS.nameChars),
    version: fields.text('version', EVENT_LIMITS.nameChars),
  };
  fields.done();
  return sdk;
}

/** What is wrong with a batch as a whole is an error of the request. */
export function refusingBatch<Value>(parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof EventFault)) throw error;
    const { code, pointer, message: detail } = error;
    throw new PlatformError(code, 'The batch of events is not valid.', { issues: [{ pointer, code, detail }] });
  }
}
