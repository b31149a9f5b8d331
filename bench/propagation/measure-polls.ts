import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { parseEnvironmentRef } from '@guidon/protocol';
import { EnvironmentDigests } from '@guidon/protocol/signed-config';
import { isQuick } from '../support/arguments.js';
import { rounded } from '../support/statistics.js';
import type { BenchInstallation } from './bench-installation.js';

const NODE_COUNT = 20;
const ENVIRONMENT_COUNT = 10_000;
const POLL_INTERVAL_S = 5;
const POLL_COUNT = isQuick ? 1_000 : 10_000;
const WARM_UP_COUNT = 500;
const ROOT_COUNT = 200;

export interface PollCost {
  /** Processor time of the control plane for one poll that finds nothing new. */
  readonly cpuMicrosecondsPerPoll: number;
  /** Of 20 nodes that poll every 5 s, in percent of one core. */
  readonly idleCorePercent: number;
  /** What one change costs at the next poll of all: the digest of 10 000 environments, of which one has changed. */
  readonly rootMicroseconds: number;
  /** Headers and body of such an answer. */
  readonly answerBytes: number;
}

/**
 * What nodes that poll cost the control plane while nothing changes (at most 1 % of a core). How many environments there are matters only to the
 * root, which is worked out once per change: that is measured with 10 000 of them in this process.
 */
export async function measurePolls(installation: BenchInstallation): Promise<PollCost> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const url = `${installation.url}/internal/v1/digests`;
  const headers = { authorization: `Bearer ${installation.nodeCredential}`, 'x-guidon-node': 'node-of-the-bench' };
  const first = await poll(url, agent, headers);
  const known = { ...headers, 'if-none-match': first.etag };
  let answerBytes = 0;
  for (let count = 0; count < WARM_UP_COUNT; count += 1) {
    const { status, bytes } = await poll(url, agent, known);
    if (status !== 304) throw new Error(`a poll that knows all was answered ${status}`);
    answerBytes = bytes;
  }
  const pids = processesOf(installation.controlPlanePid);
  const before = cpuSeconds(pids);
  for (let count = 0; count < POLL_COUNT; count += 1) await poll(url, agent, known);
  const perPoll = (cpuSeconds(pids) - before) / POLL_COUNT;
  agent.destroy();
  return {
    cpuMicrosecondsPerPoll: rounded(perPoll * 1e6, 1),
    idleCorePercent: rounded(((perPoll * NODE_COUNT) / POLL_INTERVAL_S) * 100, 3),
    rootMicroseconds: measureRoot(),
    answerBytes,
  };
}

function poll(
  url: string,
  agent: Agent,
  headers: Record<string, string>,
): Promise<{ status: number; etag: string; bytes: number }> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent, headers }, (answer) => {
      let bytes = answer.rawHeaders.join(': ').length;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, etag: answer.headers.etag ?? '', bytes }));
      answer.on('error', reject);
    });
    asked.on('error', reject).end();
  });
}

function measureRoot(): number {
  const digests = new EnvironmentDigests();
  const environmentOf = (index: number, revision: number) => ({
    ...parseEnvironmentRef({ tenantId: 'ten', projectId: 'prj', environmentId: `env_${index}` }),
    epoch: 1,
    revision,
    accessEpoch: 1,
    accessSequence: 1,
  });
  for (let index = 0; index < ENVIRONMENT_COUNT; index += 1) digests.set(environmentOf(index, 1));
  digests.root();
  const startedMs = performance.now();
  for (let count = 0; count < ROOT_COUNT; count += 1) {
    digests.set(environmentOf(count, 2));
    digests.root();
  }
  return rounded(((performance.now() - startedMs) / ROOT_COUNT) * 1_000, 1);
}

/** The command, and its children: what works is one of them. */
function processesOf(pid: number): readonly number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  return [
    pid,
    ...stdout
      .split('\n')
      .map(Number)
      .filter((child) => child > 0),
  ];
}

/** Linux counts in hundredths of a second. */
function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    return sum + (Number(fields[11]) + Number(fields[12])) / 100;
  }, 0);
}
