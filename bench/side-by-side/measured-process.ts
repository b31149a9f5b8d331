import type { Workload } from '../engine/subjects.js';
import { assertSplit, CONTEXT_COUNT, W1_SPLIT, W2_SPLIT } from '../workloads.js';
import { checkedCount, loadMeasured, type Measured } from './measured.js';

/**
 * One implementation and one workload, alone in its process: `measured-process.js <name> <workload>`. Counts variations, warms up, times
 * five windows; the last line is `{"median","min","max"}` in nanoseconds per context.
 */
const WARMUP_MS = 800;
const WINDOW_MS = 500;
const WINDOW_COUNT = 5;
/** One reading of the clock covers so many contexts. */
const CONTEXTS_PER_READING: Readonly<Record<Workload, number>> = { W1: 200, W2: 100, W3: 1 };

let next = 0;
/** What the answers summed to; printed, so that nothing is optimised away. */
let sink = 0;

async function checkVariations(name: string, workload: Workload, measured: Measured): Promise<void> {
  const served: string[] = [];
  for (let index = 0; index < checkedCount(workload); index++) served.push(...(await measured.variations(index)));
  assertSplit(`${name} ${workload}`, served, workload === 'W1' ? W1_SPLIT : W2_SPLIT);
}

/** Nanoseconds per context over at least `ms`. */
async function timeWindow({ run }: Measured, ms: number, perReading: number, isAsync: boolean): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  let elapsedMs = 0;
  while (elapsedMs < ms) {
    for (let index = 0; index < perReading; index++) {
      const answer = run(next);
      sink += isAsync ? await answer : (answer as number);
      next = next + 1 === CONTEXT_COUNT ? 0 : next + 1;
    }
    count += perReading;
    elapsedMs = performance.now() - startedMs;
  }
  return (elapsedMs * 1e6) / count;
}

const [name = '', workload = 'W1'] = process.argv.slice(2) as [string?, Workload?];
const measured = await loadMeasured(name, workload);
await checkVariations(name, workload, measured);
const isAsync = typeof measured.run(0) !== 'number';
await timeWindow(measured, WARMUP_MS, CONTEXTS_PER_READING[workload], isAsync);
const windows: number[] = [];
for (let index = 0; index < WINDOW_COUNT; index++) {
  windows.push(await timeWindow(measured, WINDOW_MS, CONTEXTS_PER_READING[workload], isAsync));
}
windows.sort((a, b) => a - b);
await measured.close();
console.log(`sink ${sink}`);
console.log(JSON.stringify({ median: windows[WINDOW_COUNT >> 1], min: windows[0], max: windows.at(-1) }));
process.exit(0); // some SDKs keep timers that nothing stops
