import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, type GuidonClient } from '@guidon/server-sdk';
import { inProcessSubject, type Workload } from '../engine/subjects.js';
import { BenchInstallation, flagKey } from '../propagation/bench-installation.js';
import { isQuick } from '../support/arguments.js';
import { BenchProcess } from '../support/bench-process.js';
import { monotonicMs } from '../support/monotonic.js';
import { median, percentile, rounded } from '../support/statistics.js';
import { CONTEXT_COUNT, W1_FLAG, W2_FLAG, w1Flag, w2Flag, w3Flags, workloadContexts } from '../workloads.js';
import type { ManyClientsAnswer, ManyClientsRequest } from './many-clients.js';
import { SignedConfigServer } from './signed-config-server.js';

/**
 * The server SDK: a call beside the in-process evaluator that it is made of, with and without counting for events, timed in turns so that both see
 * the same machine; a start from disk with nobody there; and a change until 1 000 clients evaluate it. The last line is the same as JSON.
 * `--changes`: the last of them alone.
 */
const ROUND_COUNT = isQuick ? 5 : 41;
const ROUND_MS = isQuick ? 20 : 120;
const STARTED_FLAG_COUNT = 1_000;
const START_COUNT = isQuick ? 2 : 9;
const CLIENT_COUNT = isQuick ? 40 : 1_000;
const CHANGE_COUNT = isQuick ? 2 : 40;
/** The first changes of a process are taken by code that is not compiled yet; what they took is told apart. */
const FIRST_CHANGE_COUNT = isQuick ? 2 : 5;
const PROCESS_COUNT = 2;

interface CallFigures {
  readonly inProcessNs: number;
  readonly sdkNs: number;
  /** With sums for events. */
  readonly sdkWithEventsNs: number;
  /** Median over the rounds of sdk / in-process, and with events. */
  readonly ratio: number;
  readonly ratioWithEvents: number;
}

type Run = (index: number) => number;
let sink = 0;

/** Nanoseconds of processor time a call, over about ROUND_MS: waiting for a processor that others use does not count. */
function timeRound(run: Run, callCount: number): number {
  const started = process.cpuUsage();
  for (let call = 0; call < callCount; call += 1) sink += run(call % CONTEXT_COUNT);
  const { user, system } = process.cpuUsage(started);
  return ((user + system) * 1e3) / callCount;
}

function sdkRun(client: GuidonClient, workload: Workload): Run {
  const contexts = workloadContexts().map((context) => ({ ...context }));
  const of = (index: number) => contexts[index] ?? {};
  if (workload === 'W1') return (index) => (client.boolean(W1_FLAG, of(index), false) ? 1 : 2);
  if (workload === 'W2') return (index) => client.string(W2_FLAG, of(index), '').length;
  return (index) => client.allFlags(of(index)).results.length;
}

async function measureCalls(workload: Workload): Promise<CallFigures> {
  const flags = workload === 'W1' ? [w1Flag()] : workload === 'W2' ? [w2Flag()] : w3Flags();
  const server = new SignedConfigServer(flags);
  const url = await server.start();
  const clientOf = (events: boolean) =>
    createClient({ url, key: server.key, trustRoot: server.trustRoot, stream: 'poll', pollSeconds: 60, events });
  const [silent, telling] = [clientOf(false), clientOf(true)];
  await Promise.all([silent.waitForReady(), telling.waitForReady()]);
  const runs: readonly Run[] = [inProcessSubject(workload).run, sdkRun(silent, workload), sdkRun(telling, workload)];
  const warm = runs.map((run) => timeRound(run, workload === 'W3' ? 300 : 100_000));
  const counts = warm.map((ns) => Math.max(20, Math.round((ROUND_MS * 1e6) / ns / runs.length)));
  const rounds = Array.from({ length: ROUND_COUNT }, () =>
    runs.map((run, index) => timeRound(run, counts[index] ?? 1)),
  );
  await Promise.all([silent.close(), telling.close()]);
  await server.stop();
  const column = (index: number) => rounds.map((round) => round[index] ?? Number.NaN);
  const ratio = (index: number) => rounded(median(rounds.map((round) => (round[index] ?? 0) / (round[0] ?? 1))), 3);
  return {
    inProcessNs: rounded(median(column(0)), 0),
    sdkNs: rounded(median(column(1)), 0),
    sdkWithEventsNs: rounded(median(column(2)), 0),
    ratio: ratio(1),
    ratioWithEvents: ratio(2),
  };
}

interface Started {
  readonly reason: string;
  readonly clientMs: number;
  readonly processMs: number;
}

/** A fresh process each time. */
async function measureStarts(): Promise<{ flags: number; clientMs: number; processMs: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-sdk-'));
  const server = new SignedConfigServer([w2Flag(), ...w3Flags(STARTED_FLAG_COUNT - 1)]);
  const url = await server.start();
  const { key, trustRoot } = server;
  const writer = createClient({ url, key, trustRoot, stream: 'poll', dataFolder: folder, events: false });
  await writer.waitForReady({ timeoutMs: 30_000 });
  await writer.close();
  await server.stop();
  const starts: Started[] = [];
  for (let count = 0; count < START_COUNT; count += 1) {
    const args = ['--folder', folder, '--key', key, '--trust-root', trustRoot];
    const started = await BenchProcess.start<Started>('sdk/start-from-disk.js', args);
    assert.equal(started.ready.reason, 'CACHED');
    starts.push(started.ready);
    await started.stop();
  }
  rmSync(folder, { recursive: true });
  return {
    flags: STARTED_FLAG_COUNT,
    clientMs: rounded(median(starts.map(({ clientMs }) => clientMs)), 1),
    processMs: rounded(median(starts.map(({ processMs }) => processMs)), 1),
  };
}

interface ChangeFigures {
  readonly clients: number;
  /** Of the first changes after the processes were started. */
  readonly firstP99Ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** From the acknowledgement of a write to each client that evaluates it: received, verified, built and swapped. */
async function measureChanges(): Promise<ChangeFigures> {
  const installation = await BenchInstallation.start(20);
  const args = ['--url', installation.nodeUrl, '--key', installation.serverKey];
  const processes = await Promise.all(
    Array.from({ length: PROCESS_COUNT }, () => BenchProcess.start<object>('sdk/many-clients.js', args)),
  );
  const ask = (request: ManyClientsRequest) =>
    Promise.all(processes.map((process) => process.ask<ManyClientsAnswer>(request)));
  const firstTimes: number[] = [];
  const times: number[] = [];
  try {
    await ask({ type: 'open', count: CLIENT_COUNT / PROCESS_COUNT });
    for (let index = 0; index < FIRST_CHANGE_COUNT + CHANGE_COUNT; index += 1) {
      await sleep(200);
      const told = index < FIRST_CHANGE_COUNT ? firstTimes : times;
      const { revision, acknowledgedAtMs } = await installation.turn(flagKey(0), index % 2 === 0);
      const acknowledged = acknowledgedAtMs + (monotonicMs() - performance.now());
      for (const { arrivals } of await ask({ type: 'arrivals', revision }))
        for (const arrivedAtMs of arrivals) told.push(Math.max(0, arrivedAtMs - acknowledged));
    }
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
    await installation.stop();
  }
  return {
    clients: CLIENT_COUNT,
    firstP99Ms: rounded(percentile(firstTimes, 0.99), 1),
    p50Ms: rounded(median(times), 1),
    p99Ms: rounded(percentile(times, 0.99), 1),
  };
}

async function main(): Promise<void> {
  if (process.argv.includes('--changes')) {
    console.log(JSON.stringify({ change: await measureChanges() }));
    return;
  }
  const calls: Partial<Record<Workload, CallFigures>> = {};
  for (const workload of ['W1', 'W2', 'W3'] as const) {
    const figures = await measureCalls(workload);
    calls[workload] = figures;
    const { inProcessNs, sdkNs, sdkWithEventsNs, ratio, ratioWithEvents } = figures;
    console.log(
      `${workload}: in process ${inProcessNs} ns, SDK ${sdkNs} ns (${ratio}), with events ${sdkWithEventsNs} ns (${ratioWithEvents})`,
    );
  }
  const start = await measureStarts();
  console.log(
    `start from disk, ${start.flags} flags: ${start.clientMs} ms, from the start of the process ${start.processMs} ms`,
  );
  const change = await measureChanges();
  const { clients, firstP99Ms, p50Ms, p99Ms } = change;
  console.log(
    `a change until ${clients} clients evaluate it: p50 ${p50Ms} ms, p99 ${p99Ms} ms; the first ones p99 ${firstP99Ms} ms`,
  );
  console.log(`sink ${sink}`);
  console.log(JSON.stringify({ calls, start, change }));
}

await main();
