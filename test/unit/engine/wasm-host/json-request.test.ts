import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { JsonTranscoder } from '../../../support/json-transcoder.js';
import { parseStrictJson } from '../../../support/strict-json.js';

let transcoder: JsonTranscoder;

beforeAll(async () => {
  transcoder = await JsonTranscoder.create();
});

/** Accepts what JSON.parse accepts, with the same value. */
function expectSame(body: string | Uint8Array): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const expected = parseStrictJson(bytes);
  const actual = transcoder.decode(bytes);
  const what = Buffer.from(bytes).toString('latin1').slice(0, 500);
  expect(actual.ok, what).toBe(expected !== undefined);
  if (actual.ok) expect(actual.value, what).toStrictEqual(expected?.value);
}

const doubles = fc.double({ noNaN: true, noDefaultInfinity: true });
const digits = fc.stringMatching(/^[1-9][0-9]{0,24}$/);
const fraction = fc.stringMatching(/^\.[0-9]{1,30}$/);
const exponent = fc.stringMatching(/^[eE][+-]?[0-9]{1,3}$/);
const numberText = fc
  .tuple(fc.constantFrom('', '-'), fc.oneof(digits, fc.constant('0')), fc.option(fraction), fc.option(exponent))
  .map(([sign, whole, part, power]) => `${sign}${whole}${part ?? ''}${power ?? ''}`);

describe('a number of a JSON request', () => {
  it.each([
    '0',
    '-0',
    '-0.0',
    '0e99',
    '-0e-99',
    '1e400',
    '-1e400',
    '1e-400',
    '5e-324',
    '2.5e-324',
    '1.7976931348623157e308',
    '127',
    '128',
    '255',
    '256',
    '65535',
    '65536',
    '4294967295',
    '4294967296',
    '-1',
    '-32',
    '-33',
    '-128',
    '-129',
    '9007199254740991',
    '9007199254740992',
    '9007199254740993',
    '-9007199254740993',
    '9999999999999999999',
    '10000000000000000000',
    '18446744073709551615',
    '18446744073709551616',
    '12345678901234567890123',
    '1e22',
    '1e23',
    '9007199254740993e1',
    '9007199254740992e22',
    '9007199254740992e-22',
    '9007199254740993.0',
    '0.1',
    '0.30000000000000004',
    '1.0',
    '10e-1',
    '1E+2',
    '123456789012345678e-17',
    '1.00000000000000011102230246251565404e0',
    '8.41e21',
    '3e-22',
    '3e-23',
    `0.${'0'.repeat(400)}1e401`,
    `1${'0'.repeat(400)}e-400`,
    `1e${'0'.repeat(50)}1`,
    '1e999999999999',
    '1e-999999999999',
    '01',
    '-',
    '-01',
    '+1',
    '1.',
    '.5',
    '1.e1',
    '1e',
    '1e+',
    '0x10',
    '1_0',
    'NaN',
    'Infinity',
    '-Infinity',
    '1.5.2',
    '--1',
  ])('%s is what JSON.parse says', (text) => {
    expectSame(text);
    expectSame(`[${text}]`);
    expectSame(`{"a": ${text} ,"b":[${text}]}`);
  });

  it('is the nearest double, however it is written', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            numberText,
            doubles.map(String),
            doubles.map((value) => value.toPrecision(17)),
          ),
        ),
        (texts) => expectSame(`[${texts.join(',')}]`),
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('a string of a JSON request', () => {
  it.each([
    '""',
    '"a"',
    '"123456789012345"',
    '"1234567890123456"',
    '"12345678901234567"',
    `"${'x'.repeat(31)}"`,
    `"${'x'.repeat(32)}"`,
    `"${'é'.repeat(200)}"`,
    `"${'漢'.repeat(30_000)}"`,
    `"${'\\u0041'.repeat(60_000)}"`,
    `"${'\\n'.repeat(20)}é"`,
    '"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    '"\\u0000\\u001F\\u00e9\\u6F22\\ud83c\\udf0d"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud800\\ud800\\udc00"',
    '"\\ud800x"',
    '"\\ud800\\n"',
    '"\\uD83C\\u0041"',
    '"\u2028\u2029\u007f\ufeff"',
    '"🌍"',
    '"',
    '"a',
    '"\\',
    '"\\"',
    '"\\u',
    '"\\u12"',
    '"\\u123g"',
    '"\\x41"',
    '"\\U0041"',
    '"a\nb"',
    '"a\u0000b"',
    "'a'",
    '"a"b',
  ])('%s', (text) => {
    expectSame(text);
    expectSame(`{${text}:${text}}`);
    expectSame(`[[${text}],${text}]`);
  });

  it.each(['ff', 'c3', 'c3225d', 'eda080', 'f4908080', 'c080', '80', 'e28080', 'c35c6e'])(
    'of the bytes %s is UTF-8 or refused',
    (hex) => {
      expectSame(Buffer.concat([Buffer.from('["'), Buffer.from(hex, 'hex'), Buffer.from('"]')]));
      expectSame(Buffer.concat([Buffer.from('{"'), Buffer.from(hex, 'hex'), Buffer.from('":1}')]));
    },
  );
});

describe('a JSON request', () => {
  it.each([
    '',
    ' ',
    '{}',
    '[]',
    ' \t\r\n{ \t\r\n} \t\r\n',
    '[ ]',
    'null',
    'true',
    'false',
    '[null,true,false]',
    'nul',
    'tru',
    'fals',
    'nulll',
    'truefalse',
    '[1,]',
    '[,1]',
    '[1 2]',
    '{,}',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{a:1}',
    '{1:1}',
    '[1',
    '{"a":1',
    '[}',
    '{]',
    ']',
    '1 1',
    '\ufeff{}',
    '{}\u0000',
    '\u0000',
    '/**/{}',
    '{}//',
    '[\u00a01]',
    '[\u000b1]',
    '[\f1]',
    '{"a":1,"a":1}',
    '{"a":{"b":1,"b":2}}',
    '{"\\u0061":1,"a":1}',
    '{"\\ud800":1,"\\udc00":2}',
    '{"__proto__":{"a":1}}',
    '{"":1,"":2}',
    '{"a":1,"b":{"a":1}}',
    '['.repeat(64) + ']'.repeat(64),
    '['.repeat(65) + ']'.repeat(65),
    '['.repeat(50_000),
    `${'{"a":'.repeat(64)}1${'}'.repeat(64)}`,
    `${'{"a":'.repeat(63)}{}${'}'.repeat(63)}`,
    `${'{"a":'.repeat(64)}{}${'}'.repeat(64)}`,
    `${'['.repeat(63)}0.1${']'.repeat(63)}`,
    `{${Array.from({ length: 300 }, (_, index) => `"k${index}":${index}`).join(',')}}`,
    `{${Array.from({ length: 300 }, (_, index) => `"k${index % 299}":${index}`).join(',')}}`,
    `{${Array.from({ length: 65_535 }, (_, index) => `"${index}":0`).join(',')}}`,
    `{${Array.from({ length: 65_536 }, (_, index) => `"${index}":0`).join(',')}}`,
    `[${Array.from({ length: 70_000 }, () => '0.1').join(',')}]`,
    `[${Array.from({ length: 70_000 }, () => '[[[[]]]]').join(',')}]`,
    `[${'['.repeat(60)}${Array.from({ length: 1_000 }, () => `${'['.repeat(3)}1${']'.repeat(3)}`).join(',')}${']'.repeat(60)}]`,
  ])('%# is read as JSON.parse reads it', (text) => {
    expectSame(text);
  });

  it('of any value is that value, with any blanks', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.nat(9), (text, blanks) => {
        expectSame(text);
        expectSame(JSON.stringify(JSON.parse(text), undefined, blanks));
      }),
      { numRuns: 1_000 },
    );
  });
});
