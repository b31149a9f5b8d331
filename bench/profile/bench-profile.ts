import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generatorOf, isWrkThere } from '../http/generators.js';
import { HTTP_ENVIRONMENTS, httpCases } from '../http/http-cases.js';
import { findOption, isQuick } from '../support/arguments.js';
import { BenchNode } from '../support/bench-node.js';
import { rounded } from '../support/statistics.js';

/**
 * Where a node's processor time goes under one case of `bench:http`: V8's profiler samples the serving thread, and the functions with most
 * time of their own are printed. `--only NAME` picks the case (default W1), `--seconds N` how long; native calls of uWebSockets.js
 * appear under their JavaScript names, the parser and the socket calls as `(program)` and `(idle)`.
 */
const SAMPLE_MICROS = 200;
const ROW_COUNT = 25;
const WARM_UP_SECONDS = 2;
const seconds = Number(findOption('seconds') ?? (isQuick ? 1 : 10));
const only = findOption('only') ?? 'W1';

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface ProfileRow {
  readonly function: string;
  readonly share: number;
  /** Of each request, on average. */
  readonly micros: number;
}

/** Functions by the time spent in them alone. `requestCount` is what was answered while the profile ran. */
function selfTimes({ nodes, samples, timeDeltas }: CpuProfile, requestCount: number): ProfileRow[] {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const place = url === '' ? '' : ` ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
      return [id, `${functionName === '' ? '(anonymous)' : functionName}${place}`];
    }),
  );
  const micros = new Map<string, number>();
  for (const [index, id] of samples.entries()) {
    const name = names.get(id) ?? '(unknown)';
    if (name === '(idle)') continue;
    micros.set(name, (micros.get(name) ?? 0) + (timeDeltas[index] ?? 0));
  }
  const total = [...micros.values()].reduce((sum, value) => sum + value, 0);
  return [...micros]
    .sort(([, a], [, b]) => b - a)
    .slice(0, ROW_COUNT)
    .map(([name, value]) => ({
      function: name,
      share: rounded(value / total),
      micros: rounded(value / requestCount, 3),
    }));
}

const httpCase = httpCases().find(
  ({ name, generator }) => name.includes(only) && (isWrkThere() || generator !== 'wrk'),
);
if (httpCase === undefined) throw new Error(`no case of bench:http has ${only} in its name, or wrk is missing for it`);
const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-profile-'));
const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${SAMPLE_MICROS}`];
const node = await BenchNode.start(HTTP_ENVIRONMENTS, { execArgv: flags });
try {
  const generate = generatorOf(httpCase, node.tokenOf(httpCase.environment), node.folder);
  const warmUp = await generate(node.port, WARM_UP_SECONDS);
  const window = await generate(node.port, seconds);
  await node.process.stop();
  // CPU.<date>.<time>.<process>.<thread>.<number>.cpuprofile; the serving thread is 0, workers of the pool are others.
  const name = readdirSync(folder).find((file) => file.split('.')[4] === '0');
  if (name === undefined) throw new Error('the node left no profile');
  const serving: CpuProfile = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const profile = selfTimes(serving, warmUp.rps * WARM_UP_SECONDS + window.rps * seconds);
  console.table(profile);
  console.log(JSON.stringify({ profile }));
} finally {
  await node.stop();
  rmSync(folder, { recursive: true, force: true });
}
