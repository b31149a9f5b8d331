import assert from 'node:assert/strict';
import { compileSnapshot, encodeJsonRequest, type KernelHost, type ResidentSnapshot } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../../../support/kernel-evaluator.js';

const REVISION = 9_007_199_254_740_991;
const VALUES: readonly Json[] = [
  { z: 1, ['__proto__']: { b: [] }, 'quote" back\\slash \u0000\u001f\u007f\u2028 é漢🌍': null },
  [0, -1, 1.5, 1e300, 5e-324, 2 ** 53, 1e21, -2147483649, Number.MAX_SAFE_INTEGER],
  ['', '"\\/\b\f\n\r\t\u0001', 'x'.repeat(300), 'é'.repeat(20_000)],
];

let host: KernelHost;
let resident: ResidentSnapshot;

beforeAll(async () => {
  const variations = VALUES.map((value, index) => ({ key: `v${index}`, value }));
  const flags = variations.map(({ key }) =>
    aFlag(`flag-${key}`, { type: 'json', variations, offVariation: 'v0', fallthrough: { variation: key } }),
  );
  const { compiled } = compileSnapshot(flagSetOf(flags), { environment: TEST_ENVIRONMENT, revision: REVISION });
  assert(compiled !== undefined, 'the flags compile');
  host = await testHost();
  resident = await host.load(compiled.snapshot);
});

function ask(body: unknown, route: 'evaluate' | 'batch' = 'evaluate'): string {
  const options = { route, now: 0, clientSideOnly: false, answerFormat: 'json' } as const;
  const answer = host.evaluate(resident, encodeJsonRequest(body), options);
  assert(answer.status === 'ok', JSON.stringify(answer));
  return Buffer.from(answer.bytes).toString();
}

const served = VALUES.map((value, index) => ({
  flag: `flag-v${index}`,
  value,
  variation: `v${index}`,
  reason: 'STATIC',
}));
const notFound = (flag: string): object => ({ flag, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' });

describe('an answer in JSON', () => {
  it('is what JSON.stringify makes of the same members', () => {
    for (const result of served) {
      expect(ask({ flags: result.flag, context: {} })).toBe(JSON.stringify({ revision: REVISION, ...result }));
    }
    expect(ask({ context: {} })).toBe(JSON.stringify({ revision: REVISION, results: served }));
    expect(ask({ context: {}, flags: [] })).toBe(JSON.stringify({ revision: REVISION, results: [] }));
    expect(ask({ contexts: [{}, {}], flags: [] }, 'batch')).toBe(JSON.stringify({ revision: REVISION, results: [] }));
    expect(ask({ requests: [] }, 'batch')).toBe(JSON.stringify({ revision: REVISION, results: [] }));
    const invalid = { flag: 'x', reason: 'ERROR', errorCode: 'INVALID_CONTEXT' };
    const unnamed = { flag: '', reason: 'ERROR', errorCode: 'PARSE_ERROR' };
    expect(ask({ requests: [{ flag: 'x', context: 1 }, 7, { flag: 'x', context: {} }] }, 'batch')).toBe(
      JSON.stringify({ revision: REVISION, results: [invalid, unnamed, notFound('x')] }),
    );
  });

  it('escapes keys that come from the request as JSON.stringify does', () => {
    for (let code = 0; code < 0x300; code += 1) {
      const key = `a${String.fromCharCode(code)}b`;
      expect(ask({ flags: key, context: {} })).toBe(JSON.stringify({ revision: REVISION, ...notFound(key) }));
    }
    const pieces = fc.constantFrom(
      '"',
      '\\',
      '\n',
      '\u0000',
      '\u001f',
      '\u2028',
      '🌍',
      '漢',
      '\ud800',
      '\udc00',
      'plain',
    );
    const keys = fc.array(fc.array(pieces, { maxLength: 30 }).map((parts) => parts.join('').toWellFormed()));
    fc.assert(
      fc.property(keys, (flags) => {
        const expected = { revision: REVISION, results: flags.map(notFound) };
        expect(ask({ flags, context: {} })).toBe(JSON.stringify(expected));
      }),
    );
  });

  it('grows for keys that are six times as long when escaped', () => {
    const keys = Array.from({ length: 20 }, (_, index) => '\u0001'.repeat(3_000 + index));
    const expected = { revision: REVISION, results: keys.map(notFound) };
    expect(ask({ flags: keys, context: {} })).toBe(JSON.stringify(expected));
  });
});
