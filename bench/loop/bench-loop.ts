import { compileSnapshot, KernelHost, type ResidentSnapshot } from '@guidon/engine';
import { parseEnvironmentRef } from '@guidon/protocol';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { PooledEvaluation } from '@guidon/server/pooled-evaluation.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
import { pino } from 'pino';
import { isQuick } from '../support/arguments.js';
import { BenchNode } from '../support/bench-node.js';
import { encodeBody, httpRequest } from '../support/http-request.js';
import type { NodeReport } from '../support/node-process.js';
import { RawConnection } from '../support/raw-connection.js';
import { median, rounded } from '../support/statistics.js';
import { flagSetOf, w2Flag, w3Flags, workloadContexts } from '../workloads.js';
import { type WorstRequest, worstRequests } from './worst-requests.js';

/**
 * Where requests are evaluated, and what that costs. First, in this process: a call of a worker beside one of the serving thread, and how long a
 * unit of cost takes for each kind of work, which is what the threshold is chosen by. Then, over HTTP: how long the event loop of a node is
 * held up while one of the largest requests there can be is always in flight, each for itself. `--quick` is one short round.
 */
const ROUND_MS = isQuick ? 1_000 : 5_000;
const RUN_COUNT = isQuick ? 3 : 9;
const CALL_COUNT = isQuick ? 500 : 5_000;
const IN_FLIGHT = 64;
const environment = parseEnvironmentRef({ tenantId: 'bench', projectId: 'bench', environmentId: 'bench' });

async function loaded(host: KernelHost, flags: WorstRequest['flags']): Promise<ResidentSnapshot> {
  const { compiled, issues } = compileSnapshot(flagSetOf(flags), { environment, revision: 1 });
  if (compiled === undefined) throw new Error(JSON.stringify(issues));
  return host.load(compiled.snapshot);
}

/** Least units that a request is admitted with: what the kernel counts. */
function unitsOf(host: KernelHost, resident: ResidentSnapshot, body: Uint8Array, route: 'evaluate' | 'batch'): number {
  let [low, high] = [0, 2 ** 32 - 1];
  const options = { route, now: 0, clientSideOnly: false } as const;
  while (high - low > Math.max(1, low / 100)) {
    const middle = Math.floor((low + high) / 2);
    if (host.evaluateWithin(middle, resident, body, options).status === 'costly') low = middle;
    else high = middle;
  }
  return high;
}

/** Milliseconds of one call of the serving thread. */
function inlineMs(host: KernelHost, resident: ResidentSnapshot, body: Uint8Array, route: 'evaluate' | 'batch'): number {
  const runs = Array.from({ length: RUN_COUNT }, () => {
    const from = performance.now();
    host.evaluate(resident, body, { route, now: 0, clientSideOnly: false });
    return performance.now() - from;
  });
  return median(runs);
}

async function roundTrips(): Promise<Record<string, number>> {
  const logger = pino({ level: 'silent' });
  const kernel = await SnapshotKernel.create(logger);
  const { compiled } = compileSnapshot(flagSetOf([w2Flag()]), { environment, revision: 1 });
  if (compiled === undefined) throw new Error('W2 compiles');
  const active = { environment, epoch: 1, revision: 1, digest: '', resident: await kernel.load(compiled.snapshot) };
  const slot = new EnvironmentSlot(environment, 0);
  slot.activate(active);
  const options = { route: 'evaluate', now: 0, clientSideOnly: false } as const;
  const body = encodeBody({ flags: 'w2', context: workloadContexts()[0] }, 'msgpack');
  const pooled = new PooledEvaluation(kernel, logger, { threadCount: 1 });
  await pooled.pool.whenReady();
  const call = (): Promise<void> =>
    pooled.evaluate({ slot, body, options: () => options, signal: new AbortController().signal, use: () => undefined });
  const micros = async (inFlight: number): Promise<number> => {
    const runs: number[] = [];
    for (let run = 0; run < RUN_COUNT; run += 1) {
      const from = performance.now();
      for (let done = 0; done < CALL_COUNT; done += inFlight) {
        await Promise.all(Array.from({ length: inFlight }, call));
      }
      runs.push(((performance.now() - from) * 1_000) / CALL_COUNT);
    }
    return rounded(median(runs), 1);
  };
  const from = performance.now();
  for (let count = 0; count < CALL_COUNT; count += 1) kernel.evaluate(slot, active, body, options);
  const inlineMicros = rounded(((performance.now() - from) * 1_000) / CALL_COUNT, 2);
  const result = { inlineMicros, poolMicros: await micros(1), poolMicrosOf64: await micros(IN_FLIGHT) };
  await pooled.close();
  return result;
}

/** What each kind of work takes, and how much of it is admitted inline. */
async function workOf(request: WorstRequest): Promise<{ units: number; ms: number; nsPerUnit: number }> {
  const host = await KernelHost.create();
  const resident = await loaded(host, request.flags);
  const route = request.path === '/v1/evaluate' ? 'evaluate' : 'batch';
  const units = unitsOf(host, resident, request.body, route);
  const ms = inlineMs(host, resident, request.body, route);
  return { units, ms: rounded(ms, 2), nsPerUnit: rounded((ms * 1e6) / units, 2) };
}

/** One such request always in flight, for a round. */
async function heldUpBy(
  node: BenchNode,
  request: Buffer | undefined,
): Promise<NodeReport & { readonly statuses: Readonly<Record<string, number>> }> {
  const statuses: Record<string, number> = {};
  const ask = async (): Promise<void> => {
    if (request === undefined) return;
    const connection = await RawConnection.open(node.port);
    const status = await connection.ask(request);
    connection.close();
    statuses[status] = (statuses[status] ?? 0) + 1;
  };
  await ask(); // regions and patterns are made
  await node.process.ask<NodeReport>();
  const endsAt = performance.now() + ROUND_MS;
  while (performance.now() < endsAt) {
    await ask();
    if (request === undefined) await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
  }
  const { p99Ms, maxMs } = await node.process.ask<NodeReport>();
  return { p99Ms: rounded(p99Ms, 2), maxMs: rounded(maxMs, 2), statuses };
}

const trips = await roundTrips();
console.log(trips);
const requests = worstRequests();
const work: Record<string, object> = {};
for (const request of requests) {
  if (request.format === 'json') continue;
  work[request.name] = await workOf(request);
  console.log(request.name, work[request.name]);
}
const loop: Record<string, object> = {};
const idle = await BenchNode.start({ w3: w3Flags() });
loop.idle = await heldUpBy(idle, undefined);
console.log('idle', loop.idle);
await idle.stop();
for (const { name, flags, path, format, body } of requests) {
  const node = await BenchNode.start({ worst: flags });
  try {
    loop[name] = await heldUpBy(node, httpRequest(body, { path, format, token: node.tokenOf('worst') }));
    console.log(name, loop[name]);
  } finally {
    await node.stop();
  }
}
console.log(JSON.stringify({ loop: { ...trips, work, heldUp: loop } }));
