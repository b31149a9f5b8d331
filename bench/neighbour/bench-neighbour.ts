import { findOption, isQuick } from '../support/arguments.js';
import { BenchNode } from '../support/bench-node.js';
import { encodeBody, httpRequest } from '../support/http-request.js';
import { readMetric } from '../support/metrics.js';
import type { NodeReport } from '../support/node-process.js';
import { type Latencies, OpenLoop } from '../support/open-loop.js';
import { median, rounded } from '../support/statistics.js';
import { saltedFlags, W2_FLAG, w1Flag, w2Flag, w3Flags, workloadContexts } from '../workloads.js';
import type { HostileLoad, HostileReport } from './hostile-process.js';
import { startHostile } from './start-hostile.js';
import { WORST_CONTEXT, worstFlags } from './worst-flags.js';

/**
 * What tenant B feels of tenant A. B asks one flag 1 000 times a second on a fixed schedule, in turns with A silent and with A at its worst:
 * at ten times its quota, cycling through environments that are not in memory, asking flags at the limits of the model, with 2 000
 * sockets that neither send nor read. `--quick` is one short round of each, `--only quota|cold|worst|slow` one of the four.
 */
const only = findOption('only') ?? '';
const RATE_PER_SECOND = 1_000;
const QUOTA_PER_SECOND = 2_000;
const COLD_COUNT = isQuick ? 100 : 500;
const COLD_FLAG_COUNT = 20;
/** About a tenth of what 500 cold environments take, half of what 100 do, beside the flags at the limits, which take a quarter of it. */
const SNAPSHOT_MEMORY_BYTES = 1024 * 1024;
const ROUND_COUNT = isQuick ? 1 : 5;
const ROUND_SECONDS = isQuick ? 1.5 : 5;

interface PhaseResult {
  readonly p99AloneMs: number;
  readonly p99Ms: number;
  /** Wanted: at most this. */
  readonly p99MsMax: number;
  /** Answers to B that were no 200. */
  readonly errors: number;
  /** What A got in all rounds, by status; 0 is a closed connection. */
  readonly neighbour: HostileReport;
  /** Environments that left kernel memory meanwhile. */
  readonly evictions: number;
  /** What the node's event loop was late by at most. */
  readonly eventLoopMaxMs: number;
}

const cold = Object.fromEntries(
  Array.from({ length: COLD_COUNT }, (_, index) => [
    `cold-${index}`,
    saltedFlags(w3Flags(COLD_FLAG_COUNT), String(index)),
  ]),
);
const definitions = { b: [w2Flag()], quota: [w1Flag()], worst: worstFlags(), ...cold };
const node = await BenchNode.start(definitions, {
  options: { snapshotMemoryBytes: SNAPSHOT_MEMORY_BYTES },
  quotas: { quota: { requestsPerSecond: QUOTA_PER_SECOND } },
});

const contexts = workloadContexts();
const requestOf = (environment: string, body: object): Buffer =>
  httpRequest(encodeBody(body, 'msgpack'), {
    path: '/v1/evaluate',
    format: 'msgpack',
    token: node.tokenOf(environment),
  });
const load = (requests: readonly Buffer[], shape: Partial<HostileLoad>): HostileLoad => ({
  port: node.port,
  requests: requests.map((request) => request.toString('base64')),
  connections: 0,
  slowSockets: 0,
  ...shape,
});
const phases = {
  quota: load([requestOf('quota', { flags: 'w1', context: contexts[0] })], {
    connections: 32,
    ratePerSecond: 10 * QUOTA_PER_SECOND,
  }),
  cold: load(
    Object.keys(cold).map((name) => requestOf(name, { flags: 'w3-0000', context: contexts[0] })),
    { connections: 4 },
  ),
  worst: load([requestOf('worst', { context: WORST_CONTEXT })], { connections: 8 }),
  slow: load([requestOf('quota', { flags: 'w1', context: contexts[0] })], { slowSockets: 2_000 }),
} as const satisfies Readonly<Record<string, HostileLoad>>;

async function measurePhase(b: OpenLoop, hostileLoad: HostileLoad): Promise<PhaseResult> {
  const alone: Latencies[] = [];
  const beside: Latencies[] = [];
  const neighbour: Record<string, number> = {};
  const evictions = () => readMetric(node.process.ready.metricsUrl, 'guidon_snapshot_evictions_total');
  const before = await evictions();
  let eventLoopMaxMs = 0;
  for (let round = 0; round < ROUND_COUNT; round += 1) {
    alone.push(await b.run(ROUND_SECONDS));
    await node.process.ask<NodeReport>();
    const hostile = await startHostile(hostileLoad, node.folder);
    try {
      // It has to have opened its connections.
      await new Promise((wake) => setTimeout(wake, 500));
      beside.push(await b.run(ROUND_SECONDS));
      const report = await hostile.ask<HostileReport>();
      for (const [status, count] of Object.entries(report)) neighbour[status] = (neighbour[status] ?? 0) + count;
    } finally {
      await hostile.stop();
    }
    eventLoopMaxMs = Math.max(eventLoopMaxMs, (await node.process.ask<NodeReport>()).maxMs);
  }
  const p99AloneMs = median(alone.map(({ p99Ms }) => p99Ms));
  return {
    p99AloneMs,
    p99Ms: median(beside.map(({ p99Ms }) => p99Ms)),
    p99MsMax: rounded(Math.max(2 * p99AloneMs, p99AloneMs + 2), 2),
    errors: [...alone, ...beside].reduce((sum, { failures }) => sum + failures, 0),
    neighbour,
    evictions: (await evictions()) - before,
    eventLoopMaxMs: rounded(eventLoopMaxMs, 1),
  };
}

try {
  const requests = contexts.slice(0, 1_000).map((context) => requestOf('b', { flags: W2_FLAG, context }));
  const b = await OpenLoop.open({ port: node.port, requests, ratePerSecond: RATE_PER_SECOND });
  await b.run(ROUND_SECONDS);
  const neighbour: Record<string, PhaseResult> = {};
  for (const [name, hostileLoad] of Object.entries(phases).filter(([phase]) => phase.includes(only))) {
    neighbour[name] = await measurePhase(b, hostileLoad);
    console.error(`measured ${name}`);
  }
  b.close();
  console.table(neighbour);
  console.log(JSON.stringify({ neighbour }));
} finally {
  await node.stop();
}
