import assert from 'node:assert/strict';
import {
  checkFlagSet,
  compileSnapshot,
  type Definition,
  decodeStrictMsgpack,
  type EvaluateOptions,
  encodeMsgpack,
  type FlagSet,
  InProcessEvaluator,
  type KernelHost,
  parseDefinition,
  ReferenceEvaluation,
  type ResidentSnapshot,
  type Result,
} from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { LIMITS } from '@guidon/protocol';
import { flagSetOf } from '../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../support/kernel-evaluator.js';
import { chooserOf, encodeVaried } from './varied-msgpack.js';

/** What one case needs, as JSON: it is written to test/regressions when it fails and replayed first from then on. */
export interface ComparisonCase {
  readonly definitions: readonly Definition[];
  /** Contexts in msgpack, base64. */
  readonly contexts: readonly string[];
  readonly now: number;
  readonly clientSideOnly: boolean;
}

export function encodeContexts(contexts: readonly unknown[], seed: number): string[] {
  return contexts.map((context, index) =>
    Buffer.from(encodeVaried(context, chooserOf(seed + index))).toString('base64'),
  );
}

/** The flag set that a node would have: parsed and checked. */
export function parsedFlagSet(definitions: readonly Definition[]): FlagSet {
  const flagSet = flagSetOf(
    definitions.map((definition) => {
      const parsed = parseDefinition(JSON.parse(JSON.stringify(definition)));
      assert(parsed.ok, `the generator makes valid definitions: ${JSON.stringify(parsed)}`);
      return parsed.value;
    }),
  );
  assert.deepEqual(checkFlagSet(flagSet), []);
  return flagSet;
}

/**
 * Asks the kernel, the in-process evaluator and the reference the same: all contexts x all flags in one batch, then each context for
 * everything visible. Throws where the answers differ in a single byte. Returns what was compared.
 */
export async function compareEvaluators(host: KernelHost, comparison: ComparisonCase): Promise<Result[]> {
  const { now, clientSideOnly } = comparison;
  const flagSet = parsedFlagSet(comparison.definitions);
  const { compiled, issues } = compileSnapshot(flagSet, { environment: TEST_ENVIRONMENT, revision: 12 });
  assert(compiled !== undefined, JSON.stringify(issues));
  const resident = await host.load(compiled.snapshot);
  try {
    const contexts = comparison.contexts.map((text) => Buffer.from(text, 'base64'));
    const keys = [...flagSet.flags.keys(), 'unknown', 'flag-0'];
    const body = batchBody(contexts, keys);
    const ask = (request: Uint8Array, route: 'evaluate' | 'batch'): Answers | undefined =>
      answersOf(host, resident, request, { route, now, clientSideOnly });
    const answers = ask(body, 'batch');
    assert(answers !== undefined, 'a batch answers each context in its place');
    const values = contexts.map(decodeContext);
    const evaluations = values.map((value) => new ReferenceEvaluation(flagSet, value, { now, clientSideOnly }));
    const results = evaluations.flatMap((evaluation) => keys.map((key) => evaluation.evaluate(key)));
    assertSame(answers, { revision: 12, results }, 'contexts x flags');
    const evaluator = new InProcessEvaluator(flagSet);
    const options = { now, clientSideOnly };
    const inProcess = values.flatMap((value) => evaluator.evaluateMany(keys, value, options));
    assert.deepEqual(inProcess, results, 'contexts x flags: in-process (actual) and reference (expected) differ');
    for (const [index, bytes] of contexts.entries()) {
      const evaluate = Buffer.concat([Buffer.from([0x81]), text('context'), bytes]);
      const visible = ask(evaluate, 'evaluate');
      if (visible === undefined) continue; // compared in the batch, where it is INVALID_CONTEXT in its place
      const expected = evaluations[index]?.evaluateAllVisible() ?? [];
      assertSame(visible, { revision: 12, results: expected }, 'all visible flags');
      assert.deepEqual(evaluator.evaluateAll(values[index], options), expected, 'all visible flags, in process');
      results.push(...expected);
    }
    return results;
  } finally {
    host.release(resident);
  }
}

function decodeContext(bytes: Uint8Array): unknown {
  const decoded = decodeStrictMsgpack(bytes);
  assert(decoded.ok, 'a generated context is well-formed');
  // The bytes of a context are counted where they are received.
  return bytes.length > LIMITS.contextBytes ? null : decoded.value;
}

interface Answers {
  readonly msgpack: Uint8Array;
  readonly json: string;
}

/** One request answered in both formats; undefined: a context is over its limits. */
function answersOf(
  host: KernelHost,
  resident: ResidentSnapshot,
  body: Uint8Array,
  options: EvaluateOptions,
): Answers | undefined {
  const [msgpack, json] = (['msgpack', 'json'] as const).map((answerFormat) => {
    const answer = host.evaluate(resident, body, { ...options, answerFormat });
    if (answer.status === 'limit-exceeded') return undefined;
    assert(answer.status === 'ok', JSON.stringify(answer));
    return Buffer.from(answer.bytes);
  });
  assert((msgpack === undefined) === (json === undefined), 'both formats are answered, or none');
  return msgpack === undefined || json === undefined ? undefined : { msgpack, json: json.toString() };
}

function assertSame({ msgpack, json }: Answers, expected: unknown, what: string): void {
  if (json !== JSON.stringify(expected)) {
    assert.deepEqual(JSON.parse(json), expected, `${what}: kernel in JSON (actual) and reference (expected) differ`);
    assert.fail(`${what}: the same values in other JSON: ${json}`);
  }
  const wanted = encodeMsgpack(expected as Json);
  if (Buffer.compare(msgpack, wanted) === 0) return;
  const decoded = decodeStrictMsgpack(msgpack);
  assert.deepEqual(
    decoded.ok ? decoded.value : decoded,
    expected,
    `${what}: kernel (actual) and reference (expected) differ`,
  );
  assert.fail(`${what}: the same values in other bytes`);
}

function text(value: string): Buffer {
  return Buffer.from(encodeMsgpack(value));
}

function batchBody(contexts: readonly Uint8Array[], keys: readonly string[]): Uint8Array {
  const parts = [Buffer.from([0x82]), text('flags'), Buffer.from(encodeMsgpack(keys)), text('contexts')];
  return Buffer.concat([...parts, Buffer.from([0xdc, contexts.length >> 8, contexts.length & 0xff]), ...contexts]);
}
