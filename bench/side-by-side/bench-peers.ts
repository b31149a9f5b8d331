import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Workload } from '../engine/subjects.js';
import { OWN, PEERS, PEERS_FOLDER, peerVersion } from './measured.js';

/**
 * W1-W3 in process, ours and other SDKs', each alone in a process of its own, one after the other; every one's split is asserted before
 * it is timed. The SDKs are no dependency of anything else: bench/peers has its own lock and is installed by this command. They run
 * from local data, without network. W3 asks ours for everything and theirs flag by flag, though some could be asked for everything, too.
 * Flipt has no versions to compare, see its adapter. Prints a table with ratios; the last line is JSON. A package name as argument
 * measures that peer alone beside ours.
 */
const WORKLOADS: readonly Workload[] = ['W1', 'W2', 'W3'];
/** For the slowest, which takes 50 ms for each of the 500 contexts whose answers are counted. */
const PROCESS_TIMEOUT_MS = 600_000;

interface Timing {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}
type Timings = Record<Workload, Timing>;

function run(command: string, args: readonly string[], cwd: string): void {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
}

/** `npm ci` only where what the lock says is not installed yet; the adapters are compiled each time, by this project's compiler. */
function preparePeers(): void {
  const folder = fileURLToPath(PEERS_FOLDER);
  const installed = new URL('node_modules/.package-lock.json', PEERS_FOLDER);
  const lockedMs = statSync(new URL('package-lock.json', PEERS_FOLDER)).mtimeMs;
  if (!existsSync(installed) || statSync(installed).mtimeMs < lockedMs) run('npm', ['ci', '--no-audit'], folder);
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder], process.cwd());
}

function measure(name: string, workload: Workload): Timing {
  const script = fileURLToPath(new URL('measured-process.js', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, name, workload], {
    encoding: 'utf8',
    timeout: PROCESS_TIMEOUT_MS,
  });
  if (status !== 0) throw new Error(`${name} ${workload} was not measured:\n${stdout}${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Timing;
}

function measureAll(name: string): Timings {
  const timings = Object.fromEntries(WORKLOADS.map((workload) => [workload, measure(name, workload)])) as Timings;
  for (const workload of WORKLOADS) {
    const { median, min, max } = timings[workload];
    const cells = [median, min, max].map((value) => value.toFixed(0).padStart(12)).join('');
    console.log(`${name.padEnd(32)} ${workload} ${cells} ns`);
  }
  return timings;
}

function rounded(timings: Timings): Record<Workload, { ns: number }> {
  const cells = WORKLOADS.map((workload) => [workload, { ns: Math.round(timings[workload].median) }]);
  return Object.fromEntries(cells) as Record<Workload, { ns: number }>;
}

preparePeers();
console.log(`${''.padEnd(35)} ${['median', 'min', 'max'].map((title) => title.padStart(12)).join('')}`);
const only = process.argv[2];
const own = new Map(OWN.map((name) => [name, measureAll(name)]));
const inProcess = own.get('in-process');
const kernel = own.get('kernel');
if (inProcess === undefined || kernel === undefined) throw new Error('ours are measured first');
const names = Object.keys(PEERS).filter((name) => only === undefined || name === only);
const peers = names.map((name) => ({ name, version: peerVersion(name), timings: measureAll(name) }));
console.log(
  `\n${'times as long as in-process'.padEnd(42)} ${WORKLOADS.map((workload) => workload.padStart(8)).join('')}`,
);
for (const { name, version, timings } of peers) {
  const ratios = WORKLOADS.map((workload) => timings[workload].median / inProcess[workload].median);
  console.log(`${`${name} ${version}`.padEnd(42)} ${ratios.map((ratio) => ratio.toFixed(1).padStart(8)).join('')}`);
}
const rows = peers.map(({ name, version, timings }) => ({ name, version, ...rounded(timings) }));
console.log(JSON.stringify({ inProcess: rounded(inProcess), kernel: rounded(kernel), peers: rows }));
