import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isQuick } from '../support/arguments.js';
import { BenchProcess } from '../support/bench-process.js';
import { monotonicMs } from '../support/monotonic.js';
import { percentile, rounded } from '../support/statistics.js';
import { type BenchInstallation, flagKey } from './bench-installation.js';
import type { ClientsAnswer, ClientsRequest } from './stream-clients.js';

const CONNECTION_COUNTS = isQuick ? [20, 100] : [100, 1_000, 10_000];
const WEB_COUNT = isQuick ? 100 : 10_000;
const STORM_COUNT = isQuick ? 200 : 10_000;
const CHANGE_COUNT = isQuick ? 3 : 10;
/** Before those that count: at them the processes of the clients, and the node for so many, get their own code compiled. */
const WARM_UP_COUNT = 4;
const PROCESS_COUNT = 2;
const IDLE_MS = isQuick ? 500 : 3_000;
const EVALUATE_PAUSE_MS = 2;
/** Flags that are turned; those before them belong to the other measurements. */
const TURNED = [10, 11] as const;

export interface ClientPropagation {
  readonly connections: number;
  /** From the acknowledgement of the write to its frame in the client, of every client and change. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssPerConnectionKB: number;
  /** On the wire, of one changed flag. */
  readonly patchBytes: number;
}

export interface WebPropagation {
  readonly connections: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** p99 of evaluations while a change goes out, and with the same streams idle. */
  readonly evaluateP99Ms: number;
  readonly evaluateIdleP99Ms: number;
  readonly evaluateP99Ratio: number;
}

export interface StormPropagation {
  readonly connections: number;
  /** From the end of all connections to all of them being back and at a revision that was made meanwhile. */
  readonly drainMs: number;
  /** Connects that were told to come back. */
  readonly refused: number;
  /** Evaluations that were not answered 200 meanwhile. */
  readonly failed: number;
}

/** Streams of server keys that have everything: a change to applied by each client. */
export async function measureClients(installation: BenchInstallation): Promise<ClientPropagation[]> {
  const results: ClientPropagation[] = [];
  for (const connections of CONNECTION_COUNTS) {
    const before = rssKB(installation.nodePid);
    const clients = await StreamClients.open(installation, installation.serverKey, connections);
    const after = rssKB(installation.nodePid);
    await changes(installation, clients, WARM_UP_COUNT);
    const { times, frameBytes } = await changes(installation, clients, CHANGE_COUNT);
    results.push({
      connections,
      p50Ms: rounded(percentile(times, 0.5), 1),
      p99Ms: rounded(percentile(times, 0.99), 1),
      rssPerConnectionKB: rounded((after - before) / connections, 1),
      patchBytes: frameBytes,
    });
    await clients.stop();
  }
  return results;
}

/** Streams of client keys, each with a context of its own, and changes that all of them see. */
export async function measureWeb(installation: BenchInstallation): Promise<WebPropagation> {
  const clients = await StreamClients.open(installation, installation.webKey, WEB_COUNT);
  await changes(installation, clients, WARM_UP_COUNT);
  const idle = await evaluationsWhile(installation, () => sleep(IDLE_MS));
  let times: number[] = [];
  const busy = await evaluationsWhile(installation, async () => {
    ({ times } = await changes(installation, clients, CHANGE_COUNT));
  });
  await clients.stop();
  const [evaluateP99Ms, evaluateIdleP99Ms] = [percentile(busy.timesMs, 0.99), percentile(idle.timesMs, 0.99)];
  return {
    connections: WEB_COUNT,
    p50Ms: rounded(percentile(times, 0.5), 1),
    p99Ms: rounded(percentile(times, 0.99), 1),
    evaluateP99Ms: rounded(evaluateP99Ms, 2),
    evaluateIdleP99Ms: rounded(evaluateIdleP99Ms, 2),
    evaluateP99Ratio: rounded(evaluateP99Ms / evaluateIdleP99Ms, 2),
  };
}

/** Every connection ends at once and comes back, while a change is made. */
export async function measureStorm(installation: BenchInstallation): Promise<StormPropagation> {
  const clients = await StreamClients.open(installation, installation.serverKey, STORM_COUNT);
  let [drainMs, refused] = [0, 0];
  const { failedCount } = await evaluationsWhile(installation, async () => {
    const startedMs = monotonicMs();
    await clients.ask({ type: 'reset' });
    const { revision } = await installation.turn(flagKey(TURNED[0]), false);
    await sleep(100);
    const { revision: next } = await installation.turn(flagKey(TURNED[0]), true);
    const answers = await clients.ask({ type: 'arrivals', revision: Math.max(revision, next) });
    drainMs = monotonicMs() - startedMs;
    refused = answers.reduce((sum, { refusedCount }) => sum + refusedCount, 0);
  });
  await clients.stop();
  return { connections: STORM_COUNT, drainMs: rounded(drainMs, 0), refused, failed: failedCount };
}

/** Milliseconds from each acknowledged write to each client that has it. */
async function changes(
  installation: BenchInstallation,
  clients: StreamClients,
  count: number,
): Promise<{ times: number[]; frameBytes: number }> {
  const times: number[] = [];
  let frameBytes = 0;
  for (let index = 0; index < count; index += 1) {
    await sleep(50 + Math.random() * 50);
    const { revision, acknowledgedAtMs } = await installation.turn(
      flagKey(TURNED[index % 2] ?? 0),
      !clients.isOn(index % 2),
    );
    const acknowledged = acknowledgedAtMs + (monotonicMs() - performance.now());
    for (const answer of await clients.ask({ type: 'arrivals', revision })) {
      for (const arrivedAtMs of answer.arrivals) times.push(Math.max(0, arrivedAtMs - acknowledged));
      frameBytes = Math.max(frameBytes, answer.frameBytes);
    }
  }
  return { times, frameBytes };
}

/** One evaluation after another, beside `work`. */
async function evaluationsWhile(
  installation: BenchInstallation,
  work: () => Promise<unknown>,
): Promise<{ timesMs: number[]; failedCount: number }> {
  const timesMs: number[] = [];
  let failedCount = 0;
  let isWorking = true;
  const evaluating = (async () => {
    while (isWorking) {
      const startedMs = performance.now();
      const response = await fetch(`${installation.nodeUrl}/v1/evaluate`, {
        method: 'POST',
        headers: { authorization: `Bearer ${installation.serverKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ flags: flagKey(0), context: { targetingKey: 'user' } }),
      }).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.status !== 200) failedCount += 1;
      timesMs.push(performance.now() - startedMs);
      await sleep(EVALUATE_PAUSE_MS);
    }
  })();
  await work();
  isWorking = false;
  await evaluating;
  return { timesMs, failedCount };
}

/** Connections of one key, in processes of their own. */
class StreamClients {
  readonly #processes: readonly BenchProcess<object>[];
  readonly #areOn = new Set<number>();

  static async open(installation: BenchInstallation, key: string, count: number): Promise<StreamClients> {
    const args = ['--url', installation.nodeUrl, '--key', key];
    const processes = await Promise.all(
      Array.from({ length: PROCESS_COUNT }, () => BenchProcess.start<object>('propagation/stream-clients.js', args)),
    );
    const clients = new StreamClients(processes);
    // What the node has: then a server key's stream begins with nothing to send.
    const { revision } = await installation.turn(flagKey(TURNED[0]), true);
    await installation.turn(flagKey(TURNED[1]), true).then(({ revision: last }) =>
      clients.ask({
        type: 'open',
        count: Math.ceil(count / PROCESS_COUNT),
        epoch: 1,
        revision: Math.max(revision, last),
      }),
    );
    clients.#areOn.add(0).add(1);
    return clients;
  }

  private constructor(processes: readonly BenchProcess<object>[]) {
    this.#processes = processes;
  }

  /** Also turns it: what the next change has to differ from. */
  isOn(flag: number): boolean {
    const isOn = this.#areOn.has(flag);
    if (isOn) this.#areOn.delete(flag);
    else this.#areOn.add(flag);
    return isOn;
  }

  ask(request: ClientsRequest): Promise<ClientsAnswer[]> {
    return Promise.all(this.#processes.map((process) => process.ask<ClientsAnswer>(request)));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop()));
  }
}

/** Resident memory that no file backs. */
function rssKB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kilobytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return kilobytes('RssAnon') + kilobytes('RssShmem');
}
