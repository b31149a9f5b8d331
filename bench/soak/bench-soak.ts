import { generatorOf, isWrkThere } from '../http/generators.js';
import { HTTP_ENVIRONMENTS, httpCases } from '../http/http-cases.js';
import { findOption, isQuick } from '../support/arguments.js';
import { BenchNode } from '../support/bench-node.js';
import { readMetric } from '../support/metrics.js';
import { rounded, slopeOf } from '../support/statistics.js';
import { w2Flag } from '../workloads.js';

/**
 * What a node loses over time: single evaluations at full load while a flag of the same environment changes every 100 ms. After a fifth of
 * the time, in which caches and V8's heap find their size, the slope of the anonymous memory is the least squares' line through one
 * sample a second; descriptors and resident snapshots must be what they were. `--minutes N` (default 10).
 */
const CHANGE_INTERVAL_MS = 100;
/** Shorter than a change takes to come, so that each change is a revision of its own. */
const POLL_INTERVAL_MS = 50;
const SAMPLE_INTERVAL_MS = 1_000;
const WINDOW_SECONDS = 5;
const WARM_UP_SHARE = 0.2;
const minutes = Number(findOption('minutes') ?? (isQuick ? 0.25 : 10));

interface Sample {
  readonly minute: number;
  readonly anonymousMB: number;
  readonly descriptors: number;
  readonly residentEnvironments: number;
  readonly residentSnapshotBytes: number;
  readonly kernelMB: number;
}

const node = await BenchNode.start(
  { single: HTTP_ENVIRONMENTS.single },
  { options: { pollIntervalMs: POLL_INTERVAL_MS } },
);
const startMs = performance.now();
const minute = () => (performance.now() - startMs) / 60_000;
const samples: Sample[] = [];
let requestCount = 0;
let changeCount = 0;

async function takeSample(): Promise<void> {
  const { metricsUrl } = node.process.ready;
  samples.push({
    minute: minute(),
    anonymousMB: node.process.anonymousBytes() / 2 ** 20,
    // Two samples agree only if each is taken with the connection of its own request to the metrics page open.
    descriptors: node.process.descriptorCount(),
    residentEnvironments: await readMetric(metricsUrl, 'guidon_resident_environments'),
    residentSnapshotBytes: await readMetric(metricsUrl, 'guidon_resident_snapshot_bytes'),
    kernelMB: (await readMetric(metricsUrl, 'guidon_kernel_memory_bytes')) / 2 ** 20,
  });
}

/** Calls `task` every so often until the time is over; a late call is not made up for. */
async function repeat(intervalMs: number, task: () => Promise<void> | void): Promise<void> {
  while (minute() < minutes) {
    await Promise.all([task(), new Promise((wake) => setTimeout(wake, intervalMs))]);
  }
}

function changeFlag(): void {
  changeCount += 1;
  node.environment('single').publish({ ...w2Flag(), on: changeCount % 2 === 0 });
}

async function load(): Promise<void> {
  const generator = isWrkThere() ? 'wrk' : 'autocannon';
  const single = httpCases().find((one) => one.name === 'W2' && one.generator === generator && one.connections === 64);
  if (single === undefined) throw new Error('bench:http measures W2');
  const generate = generatorOf(single, node.tokenOf('single'), node.folder);
  await repeat(0, async () => {
    requestCount += (await generate(node.port, WINDOW_SECONDS)).rps * WINDOW_SECONDS;
  });
}

try {
  const revision = () => readMetric(node.process.ready.metricsUrl, 'guidon_snapshot_revision');
  const firstRevision = await revision();
  await Promise.all([load(), repeat(CHANGE_INTERVAL_MS, changeFlag), repeat(SAMPLE_INTERVAL_MS, takeSample)]);
  const seconds = minute() * 60;
  const settled = samples.filter((sample) => sample.minute >= minutes * WARM_UP_SHARE);
  const rangeOf = (member: keyof Sample) => {
    const values = settled.map((sample) => sample[member]);
    return [Math.min(...values), Math.max(...values)];
  };
  const soak = {
    minutes,
    slopeMBPerMin: rounded(slopeOf(settled.map((sample) => [sample.minute, sample.anonymousMB]))),
    anonymousMB: rangeOf('anonymousMB').map((value) => rounded(value, 1)),
    kernelMB: rangeOf('kernelMB'),
    descriptors: rangeOf('descriptors'),
    residentEnvironments: rangeOf('residentEnvironments'),
    residentSnapshotBytes: rangeOf('residentSnapshotBytes'),
    rps: Math.round(requestCount / seconds),
    changesSent: changeCount,
    revisionsServed: (await revision()) - firstRevision,
  };
  console.table(soak);
  console.log(JSON.stringify({ soak }));
} finally {
  await node.stop();
}
