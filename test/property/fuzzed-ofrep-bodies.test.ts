import assert from 'node:assert/strict';
import { compileSnapshot, type KernelAnswer } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import { kernelRequest } from '@guidon/server/ofrep/kernel-request.js';
import { expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../support/kernel-evaluator.js';
import { parseStrictJson } from '../support/strict-json.js';
import { refusalsOf } from './expected-refusal.js';
import { mutatedText } from './mutated-text.js';
import { referenceAnswer } from './reference-answer.js';
import { type Choose, validValue } from './valid-request.js';
import { writeVariedJson } from './varied-json.js';
import { chooserOf } from './varied-msgpack.js';

const BODY_COUNT = process.env.GUIDON_DEEP === '1' ? 1_000_000 : 30_000;
const KEYS = ['a', 'nowhere', '"],"flags":["a"', 'é\\', ''];

/** Mostly what OFREP takes; now and then what the kernel alone takes, which must not get through. */
function ofrepValue(choose: Choose): unknown {
  const value = validValue(choose, false);
  if (choose(4) === 0 || typeof value !== 'object' || value === null || !('context' in value)) return value;
  return { context: value.context };
}

it(`makes of ${BODY_COUNT} fuzzed OFREP bodies what JSON.parse would, for exactly the flag of the path`, () =>
  compareWithReference());

async function compareWithReference(): Promise<void> {
  const seed = Number(process.env.GUIDON_SEED ?? Date.now() % 2 ** 31);
  console.log(`fuzzed OFREP bodies: seed ${seed}`);
  const choose = chooserOf(seed);
  const host = await testHost();
  const rules = [
    { id: 'r', when: { attribute: '/tags/0', op: 'exists', values: [true] } as const, serve: { variation: 'yes' } },
  ];
  const flagSet = flagSetOf([aFlag('a', { rules }), aFlag('b')]);
  const { compiled } = compileSnapshot(flagSet, { environment: TEST_ENVIRONMENT, revision: 1 });
  assert(compiled !== undefined, 'the flags compile');
  const resident = await host.load(compiled.snapshot);
  const answerTo = (body: Uint8Array, key: string | undefined): KernelAnswer | PlatformError => {
    try {
      const options = {
        route: 'evaluate',
        requestFormat: 'json',
        answerFormat: 'json',
        now: 0,
        clientSideOnly: false,
      } as const;
      return host.evaluate(resident, kernelRequest(body, key), options);
    } catch (error) {
      if (error instanceof PlatformError) return error;
      throw error;
    }
  };
  const counts: Record<string, number> = {};
  for (let index = 0; index < BODY_COUNT; index += 1) {
    const key = choose(3) === 0 ? undefined : KEYS[choose(KEYS.length)];
    const body = mutatedText(writeVariedJson(ofrepValue(choose), choose), choose);
    const what = `${body.toString('hex')} for ${key}`;
    const answer = answerTo(body, key);
    const status = answer instanceof PlatformError ? answer.code : answer.status;
    counts[status] = (counts[status] ?? 0) + 1;
    const parsed = parseStrictJson(body);
    const value = parsed?.value;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    const names = isObject ? Object.keys(value) : [];
    const isOfrep = isObject && names.every((name) => name === 'context');
    if (parsed === undefined || !isOfrep) {
      // Names are looked at before the grammar is: malformed JSON with other names is either.
      assert(status === 'malformed-body' || status === 'validation-failed', `${what}: ${status}`);
      continue;
    }
    const request = { context: {}, ...value, ...(key === undefined ? {} : { flags: [key] }) };
    const wrong = refusalsOf(request, { isBatch: false, revision: 1 });
    if (answer instanceof PlatformError || answer.status !== 'ok') {
      assert(
        wrong.some((refusal) => refusal.startsWith(status)),
        `${what}: ${status}, wrong is ${wrong.join()}`,
      );
      continue;
    }
    assert.equal(wrong.length, 0, `${what}: answered, wrong is ${wrong.join()}`);
    const text = Buffer.from(answer.bytes).toString();
    assert.equal(text, JSON.stringify(referenceAnswer(flagSet, request, 1)), what);
  }
  host.release(resident);
  console.log('fuzzed OFREP bodies:', JSON.stringify(counts));
  for (const status of ['ok', 'malformed-body', 'validation-failed']) expect(counts[status]).toBeGreaterThan(500);
}
