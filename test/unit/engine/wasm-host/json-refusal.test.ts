import assert from 'node:assert/strict';
import { compileSnapshot, type KernelAnswer, KernelHost, type ResidentSnapshot } from '@guidon/engine';
import { beforeAll, describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../../../support/kernel-evaluator.js';

let host: KernelHost;
let resident: ResidentSnapshot;

async function loadOn(kernelHost: KernelHost): Promise<ResidentSnapshot> {
  const { compiled } = compileSnapshot(flagSetOf([aFlag('a')]), { environment: TEST_ENVIRONMENT, revision: 3 });
  assert(compiled !== undefined, 'the flag compiles');
  return kernelHost.load(compiled.snapshot);
}

beforeAll(async () => {
  host = await testHost();
  resident = await loadOn(host);
});

function ask(body: string | Uint8Array, route: 'evaluate' | 'batch' = 'evaluate'): KernelAnswer {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  return host.evaluate(resident, bytes, { route, requestFormat: 'json', now: 0, clientSideOnly: false });
}

const manyNames = Array.from({ length: 40 }, (_, index) => `"n${index % 39}":0`).join(',');

describe('a malformed JSON request', () => {
  it.each([
    ['', 'the body is no JSON at byte 0'],
    ['{"flags":"a",}', 'the body is no JSON at byte 13'],
    ['{"flags":"a"', 'the body is no JSON at byte 12'],
    ['{"flags":"a\\', 'the body is no JSON at byte 12'],
    ['{"flags":"\\q"}', 'the body is no JSON at byte 10'],
    ['{"context":{"a":01}}', 'the body is no JSON at byte 17'],
    [`{"context":${'['.repeat(64)}`, 'more than 64 levels at byte 74'],
    ['{ "flags": "a" , "context":{"a":1, "\\u0061":2}}', 'an object has the same name twice at byte 35'],
    ['{"flags":"a","flags":"b"}', 'an object has the same name twice at byte 13'],
    [`{"context":{${manyNames}}}`, /^an object has the same name twice at byte [0-9]+$/],
    [Buffer.from('{"context":{"a":1,"b":"caf\xe9"}}', 'latin1'), 'a string is not well-formed UTF-8 at byte 22'],
    [Buffer.from('{"context":{"a":1,"b\xe9":1}}', 'latin1'), 'a string is not well-formed UTF-8 at byte 18'],
  ])('%s is refused with its place', (body, detail) => {
    expect(ask(body)).toEqual({ status: 'malformed-body', detail: expect.stringMatching(detail) });
    // The next request is read as if there had been none.
    expect(ask('{"flags":"a","context":{}}')).toMatchObject({ status: 'ok', evaluations: 1 });
  });

  it('is called by its name however large it is', () => {
    const contexts = `"contexts":[${'{"targetingKey":"some-user"},'.repeat(4_000)}{}]`;
    const refused = (body: string | Uint8Array): unknown => ask(body, 'batch');
    expect(refused(`{${contexts},}`)).toEqual({
      status: 'malformed-body',
      detail: `the body is no JSON at byte ${contexts.length + 2}`,
    });
    expect(refused(`{${contexts},"flags":[${'['.repeat(70)}`)).toMatchObject({
      detail: expect.stringMatching(/^more than 64 levels at byte /),
    });
    const unread = {
      detail: expect.stringMatching(
        /^a string is not well-formed UTF-8 or an object has the same name twice at byte [0-9]+$/,
      ),
    };
    expect(refused(`{${contexts},"flags":[],"flags":[]}`)).toMatchObject(unread);
    expect(refused(Buffer.from(`{${contexts},"flags":["\xe9"]}`, 'latin1'))).toMatchObject(unread);
  });

  it('names a member that the protocol does not know, unescaped and as a pointer', () => {
    expect(ask('{"context":{},"a\\u002f~\\n":[1,2]}')).toMatchObject({
      status: 'validation-failed',
      pointer: '/a~1~0\n',
    });
    expect(ask('{"context":{},"flags":["a",1]}')).toMatchObject({ status: 'validation-failed', pointer: '/flags/1' });
    expect(ask('{"context":{},"minRevision":4}')).toEqual({ status: 'revision-behind', minRevision: 4 });
  });
});

describe('a context in JSON', () => {
  const LIMIT = 32 * 1024;
  /** A context of so many bytes as it is received. */
  const padded = (start: string, end: string, byteCount: number, filler = ' '): string =>
    start + filler.repeat((byteCount - start.length - end.length) / filler.length) + end;

  it.each([
    ['blanks', '{"a":1', '}', ' '],
    ['escapes, which become fewer bytes', '{"a":"', '"}', '\\u0041\\u004'.slice(0, 6)],
    ['fractions, which become more bytes', '{"a":[0.1', ']}', ',0.1'],
    ['plain text', '{"a":"', '"}', 'x'],
  ])('of 32 KiB is accepted, with one byte more refused: %s', (_name, start, end, filler) => {
    const most = padded(start, end, LIMIT - ((LIMIT - start.length - end.length) % filler.length), filler);
    const fitting = most.replace('{', `{${' '.repeat(LIMIT - most.length)}`);
    const over = fitting.replace('{', '{ ');
    expect([fitting.length, over.length]).toEqual([LIMIT, LIMIT + 1]);
    expect(ask(`{"flags":"a","context":${fitting}}`)).toMatchObject({ status: 'ok' });
    expect(ask(`{"flags":"a","context":${over}}`)).toMatchObject({ status: 'limit-exceeded', pointer: '/context' });
    for (const body of [
      `{"flags":["a"],"contexts":[{},${over},${fitting},${over},{}]}`,
      `{"requests":[${['{}', over, fitting, over, '{}'].map((context) => `{"flag":"a","context":${context}}`).join()}]}`,
    ]) {
      const options = {
        route: 'batch',
        requestFormat: 'json',
        answerFormat: 'json',
        now: 0,
        clientSideOnly: false,
      } as const;
      const answer = host.evaluate(resident, Buffer.from(body), options);
      assert(answer.status === 'ok', JSON.stringify(answer));
      const { results } = JSON.parse(Buffer.from(answer.bytes).toString());
      expect(results.map(({ reason }: { reason: string }) => reason)).toEqual([
        'STATIC',
        'ERROR',
        'STATIC',
        'ERROR',
        'STATIC',
      ]);
    }
  });

  it('is not measured by what stands around it', () => {
    expect(ask(`{"flags":"a","context":{}${' '.repeat(40_000)}}`)).toMatchObject({ status: 'ok' });
    expect(ask(`{"flags":"a","context":"${'x'.repeat(40_000)}"}`)).toMatchObject({ status: 'limit-exceeded' });
  });

  it('may be in a body of the largest size, whatever that becomes', () => {
    const size = 4 * 1024 * 1024;
    for (const element of [
      '[0.1],',
      '[[[[[]]]]],',
      '{"":[]},',
      '"\\ud83d\\ude00",',
      '-33,',
      `${'x'.repeat(0)}1e-300,`,
    ]) {
      const elements = element.repeat(Math.floor((size - 100) / element.length)).slice(0, -1);
      const body = `{"flags":["a"],"requests":[{"context":{},"flag":"a"}],"minRevision":[${elements}]}`;
      expect(ask(body, 'batch')).toMatchObject({ status: 'validation-failed' });
    }
    expect(ask(' '.repeat(size), 'batch')).toMatchObject({ status: 'malformed-body' });
    expect(ask(' '.repeat(size + 1), 'batch')).toMatchObject({ status: 'payload-too-large' });
  });

  it('finds no room in a full memory: refused, and the next one is answered', async () => {
    const small = await KernelHost.create({ memoryBytesMax: 8 * 1024 * 1024 });
    const loaded = await loadOn(small);
    const options = { route: 'batch', requestFormat: 'json', now: 0, clientSideOnly: false } as const;
    const body = Buffer.from('['.padEnd(2 * 1024 * 1024));
    expect(small.evaluate(loaded, body, options)).toMatchObject({ status: 'limit-exceeded' });
    const next = Buffer.from('{"contexts":[{}],"flags":["a"]}');
    expect(small.evaluate(loaded, next, options)).toMatchObject({ status: 'ok' });
  });
});
