import { encodeJsonRequest } from '@guidon/engine';
import { trappedAnswer } from '@guidon/server/routes/trapped-answer.js';
import { describe, expect, it } from 'vitest';

const failed = (flag: string) => ({ flag, reason: 'ERROR', errorCode: 'GENERAL' });

describe('trappedAnswer()', () => {
  it.each<['evaluate' | 'batch', unknown, unknown]>([
    ['evaluate', { flags: 'a', context: {} }, { revision: 7, ...failed('a') }],
    ['evaluate', { flags: ['a', 'b', 'a'], context: {} }, { revision: 7, results: ['a', 'b', 'a'].map(failed) }],
    ['evaluate', { flag_key: 'a', user_id: 'u' }, { revision: 7, ...failed('a') }],
    ['evaluate', { flagKey: 'a', userId: 'u' }, { revision: 7, ...failed('a') }],
    ['evaluate', { flags: [], context: {} }, { revision: 7, results: [] }],
    [
      'batch',
      { requests: [{ flag: 'a', context: {} }, { flag: 'b' }] },
      { revision: 7, results: ['a', 'b'].map(failed) },
    ],
    ['batch', { contexts: [{}, {}], flags: ['a', 'b'] }, { revision: 7, results: ['a', 'b', 'a', 'b'].map(failed) }],
  ])('%s %j', (route, body, expected) => {
    expect(trappedAnswer(encodeJsonRequest(body), 'msgpack', route, 7)).toEqual(expected);
    expect(trappedAnswer(Buffer.from(JSON.stringify(body)), 'json', route, 7)).toEqual(expected);
  });

  it.each<['evaluate' | 'batch', unknown]>([
    ['evaluate', { context: {} }],
    ['evaluate', { flags: ['a', 1], context: {} }],
    ['evaluate', ['a']],
    ['evaluate', null],
    ['batch', {}],
    ['batch', { requests: [{ flag: 'a' }, null] }],
    ['batch', { contexts: Array.from({ length: 20_000 }, () => ({})), flags: ['a'] }],
  ])('cannot name the flags of %s %j', (route, body) => {
    expect(trappedAnswer(encodeJsonRequest(body), 'msgpack', route, 7)).toBeUndefined();
    expect(trappedAnswer(Buffer.from(JSON.stringify(body)), 'json', route, 7)).toBeUndefined();
  });

  it('cannot name the flags of what is no msgpack', () => {
    expect(trappedAnswer(Uint8Array.of(0xc1), 'msgpack', 'evaluate', 7)).toBeUndefined();
  });
});
