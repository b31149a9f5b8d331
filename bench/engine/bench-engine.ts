import assert from 'node:assert/strict';
import { compileSnapshot, type FlagSet } from '@guidon/engine';
import { Bench } from 'tinybench';
import { isQuick } from '../support/arguments.js';
import { CONTEXT_COUNT, flagSetOf, w2Flag, w3Flags } from '../workloads.js';
import {
  BENCH_ENVIRONMENT,
  checkSubject,
  closureSubject,
  inProcessSubject,
  jsonParseSubject,
  kernelSubject,
  referenceSubject,
  type Subject,
  type Workload,
} from './subjects.js';

/**
 * Evaluations in process, one thread: the kernel from request bytes to answer bytes and the in-process evaluator from objects to results,
 * beside the reference evaluator and hand-written closures; and how long compiling takes. Prints a table; the last line is the same as
 * JSON. `--quick` times so briefly that only the checks mean something.
 */
const WINDOW_MS = isQuick ? 20 : 2_500;
const WARMUP_MS = isQuick ? 10 : 800;
const COMPILED_FLAG_COUNT = 1_000;
/** One timing covers so many contexts, so that reading the clock does not count. */
const CONTEXTS_PER_SAMPLE: Readonly<Record<Workload, number>> = { W1: 500, W2: 250, W3: 5 };

interface Timing {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What the answers summed to; printed, so that nothing is optimised away. */
let sink = 0;

async function timeOf(
  name: string,
  run: () => void,
  options: { iterations: number; windowMs: number },
): Promise<Timing> {
  const bench = new Bench({
    time: options.windowMs,
    iterations: options.iterations,
    warmupTime: WARMUP_MS,
    warmupIterations: 3,
  });
  bench.add(name, run);
  const [task] = await bench.run();
  const result = task?.result;
  assert(result !== undefined && 'latency' in result, `${name} ran`);
  const { p50, min, max } = result.latency;
  return { median: p50, min, max };
}

/** Nanoseconds per context. */
async function timeSubject(subject: Subject): Promise<Timing> {
  const count = CONTEXTS_PER_SAMPLE[subject.workload];
  let next = 0;
  const timing = await timeOf(
    subject.name,
    () => {
      for (let index = 0; index < count; index += 1) {
        sink += subject.run(next);
        next = next + 1 === CONTEXT_COUNT ? 0 : next + 1;
      }
    },
    { iterations: 10, windowMs: WINDOW_MS },
  );
  const scale = 1e6 / count;
  return { median: timing.median * scale, min: timing.min * scale, max: timing.max * scale };
}

async function timeCompile(): Promise<{ cold: Timing; one: Timing }> {
  const flags = w3Flags(COMPILED_FLAG_COUNT);
  const flagSet = flagSetOf(flags);
  const options = { environment: BENCH_ENVIRONMENT, revision: 1 };
  const cold = await timeOf('compile 1 000 flags', () => void mustCompile(flagSet, options), {
    iterations: 10,
    windowMs: WINDOW_MS,
  });
  let previous = mustCompile(flagSet, options);
  let revision = 1;
  const one = await timeOf(
    'compile one changed flag',
    () => {
      revision += 1;
      const changed = w2Flag(flags[revision % flags.length]?.key, revision % 997);
      const next: FlagSet = { ...previous.flagSet, flags: new Map(previous.flagSet.flags).set(changed.key, changed) };
      previous = mustCompile(next, { environment: BENCH_ENVIRONMENT, revision, previous });
    },
    { iterations: 50, windowMs: WINDOW_MS / 2 },
  );
  return { cold, one };
}

type CompileOptions = Parameters<typeof compileSnapshot>[1];
function mustCompile(flagSet: FlagSet, options: CompileOptions): NonNullable<CompileOptions['previous']> {
  const { compiled, issues } = compileSnapshot(flagSet, options);
  assert(compiled !== undefined, JSON.stringify(issues));
  sink += compiled.snapshot.root.length;
  return compiled;
}

function row(name: string, workload: string, timing: Timing, unit: string): string {
  const cells = [timing.median, timing.min, timing.max].map((value) =>
    value.toFixed(unit === 'ns' ? 0 : 2).padStart(11),
  );
  return `${name.padEnd(30)} ${workload.padEnd(4)} ${cells.join(' ')} ${unit}`;
}

async function main(): Promise<void> {
  console.log(`${''.padEnd(35)} ${['median', 'min', 'max'].map((title) => title.padStart(11)).join(' ')}`);
  const kernel: Partial<Record<Workload, { ns: number }>> = {};
  const kernelJson: Partial<Record<Workload, { ns: number }>> = {};
  const inProcess: Partial<Record<Workload, { ns: number }>> = {};
  for (const workload of ['W1', 'W2', 'W3'] as const) {
    const timeOne = async (subject: Subject, isChecked = true): Promise<{ ns: number }> => {
      if (isChecked) checkSubject(subject);
      const timing = await timeSubject(subject);
      console.log(row(subject.name, workload, timing, 'ns'));
      return { ns: Math.round(timing.median) };
    };
    kernel[workload] = await timeOne(await kernelSubject(workload, 'msgpack'));
    const json = await timeOne(await kernelSubject(workload, 'json'));
    kernelJson[workload] = json;
    const parse = await timeOne(jsonParseSubject(workload), false);
    console.log(`${''.padEnd(30)} ${workload.padEnd(4)} kernel JSON / JSON.parse ${(json.ns / parse.ns).toFixed(2)}`);
    const own = await timeOne(inProcessSubject(workload));
    inProcess[workload] = own;
    await timeOne(referenceSubject(workload));
    const closures = await timeOne(closureSubject(workload));
    console.log(`${''.padEnd(30)} ${workload.padEnd(4)} in-process / closures ${(own.ns / closures.ns).toFixed(2)}`);
  }
  const { cold, one } = await timeCompile();
  console.log(row('compile 1 000 W2 flags, cold', '', cold, 'ms'));
  console.log(row('compile one changed of 1 000', '', one, 'ms'));
  console.log(`sink ${sink}`);
  const compile = { cold1000Ms: Number(cold.median.toFixed(2)), oneMs: Number(one.median.toFixed(3)) };
  console.log(JSON.stringify({ kernel, kernelJson, inProcess, compile }));
}

await main();
