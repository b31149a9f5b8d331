import assert from 'node:assert/strict';
import {
  type BodyFormat,
  compileSnapshot,
  decodeStrictMsgpack,
  encodeMsgpack,
  type FlagSet,
  InProcessEvaluator,
  KernelHost,
  ReferenceEvaluation,
  type Result,
} from '@guidon/engine';
import { type Json, parseEnvironmentRef } from '@guidon/protocol';
import {
  assertSplit,
  flagSetOf,
  W1_FLAG,
  W1_SPLIT,
  W2_FLAG,
  W2_SPLIT,
  w1Flag,
  w2Flag,
  w3Flags,
  workloadContexts,
} from '../workloads.js';
import { w1Closure, w2Closure, w3Closures } from './closures.js';

export type Workload = 'W1' | 'W2' | 'W3';

/** Something that is measured: `run(i)` evaluates the i-th context and returns a number that depends on the answer (the sink). */
export interface Subject {
  readonly name: string;
  readonly workload: Workload;
  readonly run: (index: number) => number;
  /** All variations served to a context, for the check before the timing. */
  readonly variations: (index: number) => string[];
}

export const BENCH_ENVIRONMENT = parseEnvironmentRef({ tenantId: 'bench', projectId: 'bench', environmentId: 'bench' });
const NOW = 1_700_000_000_000;
/** W3 is counted on fewer contexts, for each gives 200 answers. */
const W3_CHECKED_COUNT = 500;

const FLAGS: Readonly<Record<Workload, FlagSet>> = {
  W1: flagSetOf([w1Flag()]),
  W2: flagSetOf([w2Flag()]),
  W3: flagSetOf(w3Flags()),
};

/** From request bytes to answer bytes in one format. W3 asks for its flags by key. */
export async function kernelSubject(workload: Workload, format: BodyFormat = 'msgpack'): Promise<Subject> {
  const { compiled } = compileSnapshot(FLAGS[workload], { environment: BENCH_ENVIRONMENT, revision: 1 });
  assert(compiled !== undefined, 'the workload compiles');
  const host = await KernelHost.create();
  const resident = await host.load(compiled.snapshot);
  const bodies = requestBodies(workload, format);
  const options = {
    route: 'evaluate',
    requestFormat: format,
    answerFormat: format,
    now: NOW,
    clientSideOnly: false,
  } as const;
  const ask = (index: number): Uint8Array => {
    const body = bodies[index];
    assert(body !== undefined, 'there is a body for each context');
    const answer = host.evaluate(resident, body, options);
    assert(answer.status === 'ok', 'the kernel answers');
    return answer.bytes;
  };
  return {
    name: `kernel, ${format} to ${format}`,
    workload,
    run: (index) => ask(index).length,
    variations: (index) => {
      const answer = decodeAnswer(ask(index), format);
      return (answer.results ?? [answer]).map(variationOf);
    },
  };
}

/** One behind the other in one buffer, as a socket's receive buffer holds them. */
function requestBodies(workload: Workload, format: BodyFormat): Uint8Array[] {
  const flags = workload === 'W3' ? [...FLAGS.W3.flags.keys()] : workload === 'W2' ? W2_FLAG : W1_FLAG;
  const bodies = workloadContexts().map((context) => {
    const body = { flags, context } as unknown as Json;
    return format === 'json' ? Buffer.from(JSON.stringify(body)) : encodeMsgpack(body);
  });
  const received = Buffer.concat(bodies);
  let end = 0;
  return bodies.map(({ length }) => {
    end += length;
    return received.subarray(end - length, end);
  });
}

function decodeAnswer(bytes: Uint8Array, format: BodyFormat): Result & { results?: Result[] } {
  if (format === 'json') return JSON.parse(Buffer.from(bytes).toString());
  const decoded = decodeStrictMsgpack(bytes);
  assert(decoded.ok, 'the answer is well-formed');
  return decoded.value as Result & { results?: Result[] };
}

/** What reading the same bodies takes in JavaScript, and nothing else. */
export function jsonParseSubject(workload: Workload): Subject {
  const bodies = requestBodies(workload, 'json');
  return {
    name: 'JSON.parse of the body alone',
    workload,
    run: (index) => Object.keys(JSON.parse(String(bodies[index]))).length,
    variations: () => [],
  };
}

export function referenceSubject(workload: Workload): Subject {
  const flagSet = FLAGS[workload];
  const keys = [...flagSet.flags.keys()];
  const contexts = workloadContexts();
  const ask = (index: number): Result[] => {
    const evaluation = new ReferenceEvaluation(flagSet, contexts[index], { now: NOW });
    return keys.map((key) => evaluation.evaluate(key));
  };
  return {
    name: 'reference evaluator',
    workload,
    run: (index) => ask(index).length,
    variations: (index) => ask(index).map(variationOf),
  };
}

/** From JavaScript objects to result objects, as an SDK in the user's process evaluates. W3 asks for everything. */
export function inProcessSubject(workload: Workload): Subject {
  const evaluator = new InProcessEvaluator(FLAGS[workload]);
  const flag = workload === 'W1' ? W1_FLAG : W2_FLAG;
  const contexts = workloadContexts();
  const options = { now: NOW };
  const askOne = (index: number): Result => evaluator.evaluate(flag, contexts[index], options);
  const askAll = (index: number): Result[] => evaluator.evaluateAll(contexts[index], options);
  return {
    name: 'in-process, object to object',
    workload,
    run: workload === 'W3' ? (index) => askAll(index).length : (index) => askOne(index).reason.length,
    variations: (index) => (workload === 'W3' ? askAll(index) : [askOne(index)]).map(variationOf),
  };
}

export function closureSubject(workload: Workload): Subject {
  const contexts = workloadContexts();
  const closures = workload === 'W1' ? [w1Closure] : workload === 'W2' ? [w2Closure(W2_FLAG, 0)] : w3Closures();
  const ask = (index: number): string[] => {
    const context = contexts[index];
    assert(context !== undefined, 'there is such a context');
    return closures.map((closure) => closure(context));
  };
  return {
    name: 'hand-written JS closures',
    workload,
    run: (index) => ask(index).length,
    variations: ask,
  };
}

function variationOf(result: Result): string {
  return 'variation' in result ? result.variation : result.errorCode;
}

/** Whoever does not serve the right shares is not measured. */
export function checkSubject(subject: Subject): void {
  const count = subject.workload === 'W3' ? W3_CHECKED_COUNT : workloadContexts().length;
  const served = Array.from({ length: count }, (_, index) => subject.variations(index)).flat();
  assertSplit(`${subject.name} ${subject.workload}`, served, subject.workload === 'W1' ? W1_SPLIT : W2_SPLIT);
}
