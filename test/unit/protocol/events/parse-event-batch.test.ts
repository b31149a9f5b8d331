import { EVENT_LIMITS } from '@guidon/protocol';
import { decodeEventMessage, encodeEventMessage, parseEventBatch } from '@guidon/protocol/events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const ID = 'abcdefghij_-0123456789';
const exposure = {
  id: ID,
  kind: 'exposure',
  at: 1_700_000_000_000,
  flag: 'checkout',
  variation: 'on',
  reason: 'SPLIT',
  ruleId: 'r1',
  revision: 7,
  inExperiment: true,
  context: { targetingKey: 'é 漢 🌍' },
};
const metric = {
  id: ID,
  kind: 'metric',
  at: 0,
  key: 'order.placed',
  value: -0.5,
  context: { kind: 'multi', user: { targetingKey: 'u' }, organization: { targetingKey: 'o' } },
  data: { items: [1, null, 'é'] },
};
const summary = {
  id: ID,
  kind: 'summary',
  from: 1,
  to: 1,
  counts: [
    { flag: 'checkout', variation: 'off', count: 1 },
    { flag: 'no such flag', variation: null, errorCode: 'FLAG_NOT_FOUND', count: 1_000_000 },
  ],
};

describe('parseEventBatch()', () => {
  it('takes every kind as it was sent', () => {
    const sdk = { name: '@guidon/server-sdk', version: '0.1.0' };
    expect(parseEventBatch({ sdk, events: [exposure, metric, summary] })).toEqual({
      sdk,
      events: [exposure, metric, summary],
      refused: [],
    });
    expect(parseEventBatch({ events: [] })).toEqual({ events: [], refused: [] });
  });

  it.each([
    ['', { ...exposure, id: undefined }, '/id'],
    ['an id of 15 characters', { ...exposure, id: 'a'.repeat(15) }, '/id'],
    ['an id of 41 characters', { ...exposure, id: 'a'.repeat(41) }, '/id'],
    ['an id with a dot', { ...exposure, id: 'aaaaaaaaaaaaaaaa.' }, '/id'],
    ['another kind', { ...exposure, kind: 'click' }, '/kind'],
    ['no kind', { id: ID }, '/kind'],
    ['a time before 1970', { ...exposure, at: -1 }, '/at'],
    ['half a millisecond', { ...exposure, at: 0.5 }, '/at'],
    ['a date', { ...exposure, at: '2026-01-01' }, '/at'],
    ['an empty flag', { ...exposure, flag: '' }, '/flag'],
    ['a long flag', { ...exposure, flag: 'x'.repeat(257) }, '/flag'],
    ['half a surrogate pair', { ...exposure, flag: '\ud800' }, '/flag'],
    ['an exposure to nothing', { ...exposure, variation: null }, '/variation'],
    ['a reason in small letters', { ...exposure, reason: 'split' }, '/reason'],
    ['a rule id with a slash', { ...exposure, ruleId: 'a/b' }, '/ruleId'],
    ['a negative revision', { ...exposure, revision: -1 }, '/revision'],
    ['a maybe', { ...exposure, inExperiment: 1 }, '/inExperiment'],
    ['a member nobody knows', { ...exposure, 'a/b~': 1 }, '/a~1b~0'],
    ['nobody', { ...exposure, context: undefined }, '/context'],
    ['a context without a key', { ...exposure, context: {} }, '/context/targetingKey'],
    ['an empty key', { ...exposure, context: { targetingKey: '' } }, '/context/targetingKey'],
    ['513 bytes of key', { ...exposure, context: { targetingKey: `${'é'.repeat(256)}x` } }, '/context/targetingKey'],
    ['attributes', { ...exposure, context: { targetingKey: 'u', mail: 'a@example.com' } }, '/context/mail'],
    ['an empty multi context', { ...exposure, context: { kind: 'multi' } }, '/context'],
    ['a kind that is no object', { ...exposure, context: { kind: 'multi', user: 'u' } }, '/context/user'],
    [
      'attributes of a kind',
      { ...exposure, context: { kind: 'multi', user: { targetingKey: 'u', mail: 'x' } } },
      '/context/user/mail',
    ],
    ['a metric without a key', { ...metric, key: undefined }, '/key'],
    ['a value that is text', { ...metric, value: '1' }, '/value'],
    ['a value without end', { ...metric, value: Number.POSITIVE_INFINITY }, '/value'],
    ['data that is too deep', { ...metric, data: [[[[[[[[[1]]]]]]]]] }, '/data'],
    ['data that is too long', { ...metric, data: 'é'.repeat(2048) }, '/data'],
    ['a summary that ends before it begins', { ...summary, from: 2 }, '/to'],
    ['counts that are no list', { ...summary, counts: {} }, '/counts'],
    ['a count of nothing', { ...summary, counts: [{ flag: 'f', variation: 'a', count: 0 }] }, '/counts/0/count'],
    [
      'no variation and no reason why',
      { ...summary, counts: [summary.counts[0], { flag: 'f', variation: null, count: 1 }] },
      '/counts/1/errorCode',
    ],
    ['a string', 'exposure', ''],
    ['null', null, ''],
    ['an array', [], ''],
  ])('refuses %s in its own place and takes the rest', (_name, event, pointer) => {
    const { events, refused } = parseEventBatch({ events: [metric, event, summary] });
    expect(events).toEqual([metric, summary]);
    expect(refused).toMatchObject([{ index: 1, pointer: `/events/1${pointer}` }]);
  });

  it('tells what is over a limit from what is wrong', () => {
    const { refused } = parseEventBatch({
      events: [
        { ...exposure, flag: 'x'.repeat(257) },
        { ...exposure, flag: 7 },
      ],
    });
    expect(refused.map(({ code }) => code)).toEqual(['limit-exceeded', 'validation-failed']);
  });

  it.each([
    ['no object', [], ''],
    ['no events', {}, '/events'],
    ['an unknown member', { events: [], key: 'k' }, '/key'],
    ['an SDK without a version', { sdk: { name: 'x' }, events: [] }, '/sdk/version'],
    ['too many events', { events: Array.from({ length: EVENT_LIMITS.eventsPerBatch + 1 }, () => exposure) }, '/events'],
  ])('refuses a batch with %s', (_name, batch, pointer) => {
    expect(() => parseEventBatch(batch)).toThrow(
      expect.objectContaining({ name: 'PlatformError', issues: [expect.objectContaining({ pointer })] }),
    );
  });

  it('throws nothing but PlatformError, whatever it is given, and takes again what it took', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.record({ events: fc.array(fc.jsonValue()) })), (input) => {
        try {
          const { events } = parseEventBatch(input);
          expect(parseEventBatch({ events })).toEqual({ events, refused: [] });
        } catch (error) {
          expect(error).toMatchObject({ name: 'PlatformError' });
        }
      }),
    );
  });
});

describe('decodeEventMessage()', () => {
  const environment = { tenantId: 't1', projectId: 'p1', environmentId: 'e1' };
  const { events } = parseEventBatch({ events: [exposure, metric, summary] });

  it('reads what encodeEventMessage() wrote', () => {
    const message = { environment, origin: 'srv', receivedAt: 5, events } as never;
    expect(decodeEventMessage(encodeEventMessage(message))).toEqual({ ...(message as object), refused: [] });
  });

  it.each([
    ['text', 'x'],
    ['an origin nobody knows', JSON.stringify({ environment, origin: 'adm', receivedAt: 5, events })],
    ['no environment', JSON.stringify({ origin: 'srv', receivedAt: 5, events })],
    [
      'an environment with a dot',
      JSON.stringify({ environment: { ...environment, tenantId: 'a.b' }, origin: 'srv', receivedAt: 5, events }),
    ],
  ])('refuses %s', (_name, text) => {
    expect(() => decodeEventMessage(text)).toThrow(expect.objectContaining({ name: 'PlatformError' }));
  });
});
