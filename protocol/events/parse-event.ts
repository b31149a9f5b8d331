import type { Json } from '../json.js';
import { EVENT_LIMITS } from '../limits.js';
import type { Event, EventContext, ExposureEvent, MetricEvent, SummaryCount, SummaryEvent } from './event.js';
import { EventFault, FieldReader } from './field-reader.js';

const ID = /^[A-Za-z0-9_-]{16,40}$/;
const CONSTANT = /^[A-Z][A-Z_]{0,63}$/;
const RULE_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** Reads one event of a batch. Throws EventFault at the first thing that is wrong; members that are not known are. */
export function parseEvent(value: unknown, pointer: string): Event {
  const fields = new FieldReader(value, pointer);
  const kind = fields.value('kind');
  const id = fields.matching('id', ID, '16 to 40 letters, digits, _ or -');
  const event = parseKind(fields, kind, id);
  fields.done();
  return event;
}

function parseKind(fields: FieldReader, kind: unknown, id: string): Event {
  if (kind === 'exposure') return parseExposure(fields, id);
  if (kind === 'metric') return parseMetric(fields, id);
  if (kind === 'summary') return parseSummary(fields, id);
  throw fields.fault('kind', 'must be exposure, metric or summary');
}

function parseExposure(fields: FieldReader, id: string): ExposureEvent {
  return {
    id,
    kind: 'exposure',
    at: instant(fields, 'at'),
    flag: fields.text('flag', EVENT_LIMITS.nameChars),
    variation: fields.text('variation', EVENT_LIMITS.nameChars),
    ...fields.optional('reason', (name) => constant(fields, name)),
    ...fields.optional('ruleId', (name) => fields.matching(name, RULE_ID, 'the id of a rule')),
    ...fields.optional('revision', (name) => fields.whole(name, 0, Number.MAX_SAFE_INTEGER)),
    ...fields.optional('inExperiment', (name) => {
      const isIn = fields.value(name);
      if (typeof isIn !== 'boolean') throw fields.fault(name, 'must be true or false');
      return isIn;
    }),
    context: parseContext(fields.value('context'), fields.pointerOf('context')),
  };
}

function parseMetric(fields: FieldReader, id: string): MetricEvent {
  return {
    id,
    kind: 'metric',
    at: instant(fields, 'at'),
    key: fields.text('key', EVENT_LIMITS.nameChars),
    ...fields.optional('value', (name) => {
      const value = fields.value(name);
      if (typeof value !== 'number' || !Number.isFinite(value)) throw fields.fault(name, 'must be a finite number');
      return value;
    }),
    context: parseContext(fields.value('context'), fields.pointerOf('context')),
    ...fields.optional('data', (name) => parseData(fields.value(name), fields.pointerOf(name))),
  };
}

function parseSummary(fields: FieldReader, id: string): SummaryEvent {
  const from = instant(fields, 'from');
  const to = instant(fields, 'to');
  if (to < from) throw fields.fault('to', 'must not be before from');
  const list = fields.list('counts', EVENT_LIMITS.countsPerSummary);
  const counts = list.map((entry, index) => parseCount(entry, `${fields.pointerOf('counts')}/${index}`));
  return { id, kind: 'summary', from, to, counts };
}

function parseCount(value: unknown, pointer: string): SummaryCount {
  const fields = new FieldReader(value, pointer);
  const variation = fields.value('variation') === null ? null : fields.text('variation', EVENT_LIMITS.nameChars);
  const count: SummaryCount = {
    flag: fields.text('flag', EVENT_LIMITS.nameChars),
    variation,
    ...fields.optional('reason', (name) => constant(fields, name)),
    ...fields.optional('errorCode', (name) => constant(fields, name)),
    ...fields.optional('revision', (name) => fields.whole(name, 0, Number.MAX_SAFE_INTEGER)),
    count: fields.whole('count', 1, EVENT_LIMITS.count),
  };
  if (variation === null && count.errorCode === undefined) {
    throw fields.fault('errorCode', 'must say why no variation was served');
  }
  fields.done();
  return count;
}

const instant = (fields: FieldReader, name: string): number => fields.whole(name, 0, Number.MAX_SAFE_INTEGER);
const constant = (fields: FieldReader, name: string): string =>
  fields.matching(name, CONSTANT, 'a word in capitals, such as SPLIT');

/** Attributes are refused rather than dropped: a sender that means to send them would not know that they are gone. */
function parseContext(value: unknown, pointer: string): EventContext {
  const fields = new FieldReader(value, pointer);
  const kind = fields.has('kind') ? fields.text('kind', EVENT_LIMITS.nameChars) : undefined;
  if (kind !== 'multi') {
    const context = { ...(kind === undefined ? {} : { kind }), targetingKey: targetingKeyOf(fields) };
    fields.done();
    return context;
  }
  const kinds = fields.names.filter((name) => name !== 'kind');
  if (kinds.length === 0) throw new EventFault(pointer, 'must name somebody');
  if (kinds.length > EVENT_LIMITS.contextKinds) {
    throw new EventFault(pointer, `may have ${EVENT_LIMITS.contextKinds} kinds`, 'limit-exceeded');
  }
  const members = kinds.map((name) => {
    if (name.length > EVENT_LIMITS.nameChars) {
      throw fields.fault(name, `may have ${EVENT_LIMITS.nameChars} characters`, 'limit-exceeded');
    }
    const inner = new FieldReader(fields.value(name), fields.pointerOf(name));
    const targetingKey = targetingKeyOf(inner);
    inner.done();
    return [name, { targetingKey }] as const;
  });
  return { ...Object.fromEntries(members), kind: 'multi' };
}

function targetingKeyOf(fields: FieldReader): string {
  const key = fields.text('targetingKey', EVENT_LIMITS.targetingKeyBytes);
  if (new TextEncoder().encode(key).length > EVENT_LIMITS.targetingKeyBytes) {
    throw fields.fault('targetingKey', `may have ${EVENT_LIMITS.targetingKeyBytes} bytes`, 'limit-exceeded');
  }
  return key;
}

function parseData(value: unknown, pointer: string): Json {
  if (!isJson(value, EVENT_LIMITS.dataDepth)) {
    throw new EventFault(pointer, `must be JSON, at most ${EVENT_LIMITS.dataDepth} levels deep`);
  }
  if (new TextEncoder().encode(JSON.stringify(value)).length > EVENT_LIMITS.dataBytes) {
    throw new EventFault(pointer, `may have ${EVENT_LIMITS.dataBytes} bytes`, 'limit-exceeded');
  }
  return value;
}

/** `depth` levels of arrays and objects at most: the recursion is bounded by it. */
function isJson(value: unknown, depth: number): value is Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth === 0) return false;
  return Object.values(value).every((member) => isJson(member, depth - 1));
}
