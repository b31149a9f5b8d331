import assert from 'node:assert/strict';
import { compileSnapshot, encodeJsonRequest, type KernelAnswer } from '@guidon/engine';
import { expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../support/kernel-evaluator.js';
import { parseStrictJson } from '../support/strict-json.js';
import { refusalsOf } from './expected-refusal.js';
import { mutatedText } from './mutated-text.js';
import { referenceAnswer } from './reference-answer.js';
import { validValue } from './valid-request.js';
import { writeVariedJson } from './varied-json.js';
import { chooserOf } from './varied-msgpack.js';

const BODY_COUNT = process.env.GUIDON_DEEP === '1' ? 2_000_000 : 100_000;
const REVISION = 5;
it(`answers ${BODY_COUNT} fuzzed JSON bodies as JSON.parse and the reference say, and never traps`, {
  timeout: process.env.GUIDON_DEEP === '1' ? 3_600_000 : 180_000,
}, async () => {
  const seed = Number(process.env.GUIDON_SEED ?? Date.now() % 2 ** 31);
  console.log(`fuzzed JSON bodies: seed ${seed}`);
  const choose = chooserOf(seed);
  const host = await testHost();
  const exists = { attribute: '/tags/0', op: 'exists', values: [true] } as const;
  const half = { attribute: '/address/deep/deep/0', op: 'in', values: [0.5] } as const;
  const rules = [
    { id: 'r', when: exists, serve: { variation: 'yes' } },
    { id: 'half', when: half, serve: { variation: 'off' } },
  ];
  const flagSet = flagSetOf([aFlag('a'), aFlag('b', { rules })]);
  const { compiled } = compileSnapshot(flagSet, { environment: TEST_ENVIRONMENT, revision: REVISION });
  assert(compiled !== undefined, 'the flags compile');
  const resident = await host.load(compiled.snapshot);
  const counts: Record<string, number> = {};
  for (let index = 0; index < BODY_COUNT; index += 1) {
    const isBatch = choose(3) === 0;
    const body = mutatedText(writeVariedJson(validValue(choose, isBatch), choose), choose);
    const ask = (bytes: Uint8Array, requestFormat: 'json' | 'msgpack'): KernelAnswer => {
      const route = isBatch ? 'batch' : 'evaluate';
      const options = { route, requestFormat, answerFormat: 'json', now: 0, clientSideOnly: false } as const;
      return host.evaluate(resident, bytes, options);
    };
    const answer = ask(body, 'json');
    counts[answer.status] = (counts[answer.status] ?? 0) + 1;
    const parsed = parseStrictJson(body);
    const wrong = parsed ? refusalsOf(parsed.value, { isBatch, revision: REVISION }) : ['malformed-body'];
    const actual = answer.status === 'validation-failed' ? `${answer.status} ${answer.pointer}` : answer.status;
    const what = `${body.toString('hex')} ${isBatch ? 'batch' : 'evaluate'}`;
    if (answer.status !== 'ok') {
      if (!wrong.includes(actual)) assert.fail(`${what}: ${actual}, wrong is ${wrong.join()}`);
      continue;
    }
    assert(wrong.length === 0 && parsed !== undefined, `${what}: answered, wrong is ${wrong.join()}`);
    const text = Buffer.from(answer.bytes).toString();
    assert.equal(text, JSON.stringify(referenceAnswer(flagSet, parsed.value, REVISION)), what);
    const asMsgpack = ask(encodeJsonRequest(parsed.value), 'msgpack');
    assert(asMsgpack.status === 'ok', what);
    assert.equal(Buffer.from(asMsgpack.bytes).toString(), text, what);
  }
  host.release(resident);
  console.log('fuzzed JSON bodies:', JSON.stringify(counts));
  for (const status of ['ok', 'malformed-body', 'validation-failed', 'revision-behind'])
    expect(counts[status]).toBeGreaterThan(500);
});
