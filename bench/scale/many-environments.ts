import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Generator, replayWithWrk } from '../http/generators.js';
import { isQuick } from '../support/arguments.js';
import { BenchFeed, DefinitionSet } from '../support/bench-feed.js';
import { BenchProcess } from '../support/bench-process.js';
import { encodeBody, httpRequest } from '../support/http-request.js';
import { readMetric } from '../support/metrics.js';
import type { NodeOptions, NodeReady } from '../support/node-process.js';
import { seededRandom, zipfPicker } from '../support/random.js';
import { median, rounded } from '../support/statistics.js';
import { saltedFlags, w3Flags, workloadContexts } from '../workloads.js';

/** What a node with many environments costs, beside the same node asked for one of them alone. */
export interface EnvironmentsRow {
  readonly environments: number;
  /** From an empty store, fed over HTTP: verified, compiled, stored. */
  readonly firstReadySeconds: number;
  /** From the start of the process to ready, out of its own store. */
  readonly restartSeconds: number;
  readonly rpsOne: number;
  readonly rpsUniform: number;
  readonly rpsZipf: number;
  /** Medians of the rounds by the round's load on one environment. */
  readonly uniformRatio: number;
  readonly zipfRatio: number;
  /** Processor time of a request, microseconds. */
  readonly microsOne: number;
  readonly microsUniform: number;
  readonly anonymousMB: number;
  readonly residentSnapshotMB: number;
  /** 120 MB + 1.25 x resident snapshot bytes. */
  readonly anonymousMBMax: number;
}

const FLAG_COUNT = 20;
/** More requests than a generator's caches hold of ten thousand environments. */
const REQUEST_COUNT = 20_000;
const ROUND_COUNT = isQuick ? 1 : 5;
const WINDOW_SECONDS = isQuick ? 1 : 2;
const SEED = 20_261_122;

export async function measureEnvironments(environmentCount: number): Promise<EnvironmentsRow> {
  const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-scale-'));
  const feed = await BenchFeed.start();
  const flags = w3Flags(FLAG_COUNT);
  const tokens = Array.from({ length: environmentCount }, (_, index) =>
    // Made when they are asked for: all of them at once would be the largest part of this process.
    feed.addEnvironment(String(index), () => new DefinitionSet(saltedFlags(flags, String(index)))).issueCredential(),
  );
  const options: NodeOptions = { ...feed.nodeOptions, dataDirectory: join(folder, 'node') };
  const start = () => BenchProcess.start<NodeReady>('support/node-process.js', [JSON.stringify(options)]);
  const startMs = performance.now();
  let node = await start();
  try {
    const firstReadySeconds = (performance.now() - startMs) / 1_000;
    await node.stop();
    const restartMs = performance.now();
    node = await start();
    const restartSeconds = (performance.now() - restartMs) / 1_000;
    const loads = loadsOn(tokens, folder);
    const rounds = await runRounds(node, loads);
    const anonymousMB = node.anonymousBytes() / 2 ** 20;
    const residentSnapshotMB = (await readMetric(node.ready.metricsUrl, 'guidon_resident_snapshot_bytes')) / 2 ** 20;
    return {
      environments: environmentCount,
      firstReadySeconds: rounded(firstReadySeconds, 2),
      restartSeconds: rounded(restartSeconds, 2),
      rpsOne: Math.round(median(rounds.map(({ one }) => one.rps))),
      rpsUniform: Math.round(median(rounds.map(({ uniform }) => uniform.rps))),
      rpsZipf: Math.round(median(rounds.map(({ zipf }) => zipf.rps))),
      uniformRatio: rounded(median(rounds.map(({ one, uniform }) => uniform.rps / one.rps))),
      zipfRatio: rounded(median(rounds.map(({ one, zipf }) => zipf.rps / one.rps))),
      microsOne: rounded(median(rounds.map(({ one }) => one.micros)), 2),
      microsUniform: rounded(median(rounds.map(({ uniform }) => uniform.micros)), 2),
      anonymousMB: rounded(anonymousMB, 1),
      residentSnapshotMB: rounded(residentSnapshotMB, 1),
      anonymousMBMax: rounded(120 + 1.25 * residentSnapshotMB, 1),
    };
  } finally {
    await node.stop();
    await feed.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Loads {
  readonly one: Generator;
  readonly uniform: Generator;
  readonly zipf: Generator;
}

function loadsOn(tokens: readonly string[], folder: string): Loads {
  const contexts = workloadContexts();
  const keys = w3Flags(FLAG_COUNT).map(({ key }) => key);
  const random = seededRandom(SEED);
  const load = (name: keyof Loads, pick: () => number) => {
    const requests = Array.from({ length: REQUEST_COUNT }, (_, index) => {
      const context = contexts[index % contexts.length];
      const body = encodeBody({ flags: keys[index % FLAG_COUNT], context }, 'msgpack');
      return httpRequest(body, { path: '/v1/evaluate', format: 'msgpack', token: tokens[pick()] ?? '' });
    });
    return replayWithWrk(requests, join(folder, name), { name, connections: 64, pipelining: 1 });
  };
  return {
    one: load('one', () => 0),
    uniform: load('uniform', () => Math.floor(random() * tokens.length)),
    zipf: load('zipf', zipfPicker(tokens.length, random)),
  };
}

interface Window {
  readonly rps: number;
  readonly micros: number;
}

async function runRounds(node: BenchProcess<NodeReady>, loads: Loads): Promise<Record<keyof Loads, Window>[]> {
  const measure = async (generate: Generator): Promise<Window> => {
    const before = node.cpuSeconds();
    const { rps } = await generate(node.ready.port, WINDOW_SECONDS);
    return { rps, micros: ((node.cpuSeconds() - before) / (rps * WINDOW_SECONDS)) * 1e6 };
  };
  await measure(loads.uniform);
  const rounds: Record<keyof Loads, Window>[] = [];
  for (let round = 0; round < ROUND_COUNT; round += 1) {
    rounds.push({
      one: await measure(loads.one),
      uniform: await measure(loads.uniform),
      zipf: await measure(loads.zipf),
    });
  }
  return rounds;
}
