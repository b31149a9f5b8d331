import assert from 'node:assert/strict';
import {
  compileSnapshot,
  decodeStrictMsgpack,
  type KernelAnswer,
  type KernelHost,
  type ResidentSnapshot,
} from '@guidon/engine';
import { expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../support/kernel-evaluator.js';
import { refusalsOf } from './expected-refusal.js';
import { type Choose, validValue } from './valid-request.js';
import { chooserOf, encodeVaried } from './varied-msgpack.js';

const BODY_COUNT = process.env.GUIDON_DEEP === '1' ? 2_000_000 : 100_000;

function mutated(bytes: Uint8Array, choose: Choose): Uint8Array {
  const kind = choose(10);
  if (kind < 3) return bytes;
  if (kind === 3) return bytes.slice(0, choose(bytes.length + 1));
  if (kind === 4) return Buffer.concat([bytes, Buffer.from([choose(256)])]);
  if (kind === 5) return Buffer.from(Array.from({ length: choose(64) }, () => choose(256)));
  const copy = bytes.slice();
  for (let count = 1 + choose(3); count > 0 && copy.length > 0; count -= 1) {
    const offset = choose(copy.length);
    if (kind === 6) copy[offset] = (copy[offset] ?? 0) ^ (1 << choose(8));
    else if (kind === 7) copy[offset] = 0x80 + choose(0x80);
    else if (kind === 8) copy.copyWithin(offset, choose(copy.length));
    else copy[offset] = choose(256);
  }
  return copy;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function statusOf(host: KernelHost, resident: ResidentSnapshot, body: Uint8Array, isBatch: boolean): KernelAnswer {
  return host.evaluate(resident, body, { route: isBatch ? 'batch' : 'evaluate', now: 0, clientSideOnly: false });
}

it(`answers ${BODY_COUNT} fuzzed bodies as the plain twin of its reader says, and never traps`, {
  timeout: process.env.GUIDON_DEEP === '1' ? 3_600_000 : 120_000,
}, async () => {
  const seed = Number(process.env.GUIDON_SEED ?? Date.now() % 2 ** 31);
  console.log(`fuzzed bodies: seed ${seed}`);
  const choose = chooserOf(seed);
  const host = await testHost();
  const exists = { attribute: '/tags/0', op: 'exists', values: [true] } as const;
  const flags = [aFlag('a'), aFlag('b', { rules: [{ id: 'r', when: exists, serve: { variation: 'yes' } }] })];
  const { compiled } = compileSnapshot(flagSetOf(flags), { environment: TEST_ENVIRONMENT, revision: 5 });
  assert(compiled !== undefined, 'the flags compile');
  const resident = await host.load(compiled.snapshot);
  const counts: Record<string, number> = {};
  for (let index = 0; index < BODY_COUNT; index += 1) {
    const isBatch = choose(3) === 0;
    const body = mutated(encodeVaried(validValue(choose, isBatch), choose), choose);
    const answer = statusOf(host, resident, body, isBatch);
    counts[answer.status] = (counts[answer.status] ?? 0) + 1;
    const decoded = decodeStrictMsgpack(body);
    const wrong = decoded.ok ? refusalsOf(decoded.value, { isBatch, revision: 5 }) : ['malformed-body'];
    const actual = answer.status === 'validation-failed' ? `${answer.status} ${answer.pointer}` : answer.status;
    const isRight = answer.status === 'ok' ? wrong.length === 0 : wrong.includes(actual);
    if (!isRight) assert.fail(`${hexOf(body)} ${isBatch ? 'batch' : 'evaluate'}: ${actual}, wrong is ${wrong.join()}`);
    if (answer.status === 'ok') assert(decodeStrictMsgpack(answer.bytes).ok, 'the answer is well-formed');
  }
  host.release(resident);
  console.log('fuzzed bodies:', JSON.stringify(counts));
  for (const status of ['ok', 'malformed-body', 'validation-failed', 'revision-behind'])
    expect(counts[status]).toBeGreaterThan(500);
});
