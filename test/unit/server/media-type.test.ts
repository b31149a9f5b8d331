import { answerFormat, findBodyFormat } from '@guidon/server/media-type.js';
import { describe, expect, it } from 'vitest';

describe('findBodyFormat()', () => {
  it.each([
    ['application/msgpack', 'msgpack'],
    ['application/json', 'json'],
    ['Application/JSON', 'json'],
    ['application/json; charset=utf-8', 'json'],
    ['application/json;charset="UTF-8"', 'json'],
    ['application/json;', 'json'],
    ['application/json; charset=latin1', undefined],
    ['application/json; profile=x', undefined],
    ['application/jsonp', undefined],
    ['text/json', undefined],
    ['', undefined],
  ] as const)('%j is %s', (contentType, format) => {
    expect(findBodyFormat(contentType)).toBe(format);
  });
});

describe('answerFormat()', () => {
  it.each([
    ['', 'msgpack', 'msgpack'],
    ['*/*', 'msgpack', 'msgpack'],
    ['application/json', 'msgpack', 'json'],
    ['application/msgpack', 'json', 'msgpack'],
    ['application/json, application/msgpack', 'msgpack', 'msgpack'],
    ['application/json;q=0.5, application/msgpack;q=0.9', 'json', 'msgpack'],
    ['application/msgpack;q=0, */*', 'msgpack', 'json'],
    ['application/*;q=0.2, application/json', 'msgpack', 'json'],
    ['text/html', 'json', 'json'],
    ['application/msgpack;q=nonsense', 'json', 'json'],
  ] as const)('Accept %j to a %s request answers %s', (accept, requestFormat, expected) => {
    expect(answerFormat(accept, requestFormat)).toBe(expected);
  });
});
