import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

/**
 * The test command: structure and lint checks, then each folder of test/ as one suite with its time, two of them at a time. `--deep` runs the
 * long campaigns instead, one after the other, `--faults` that of the fault proofs alone. What failed is said again at the end. The last line is `N passed, N failed`; the
 * exit status is 0 only when nothing failed and something passed.
 */
const CHECKS: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['test tools', process.execPath, 'scripts/dist/ensure-test-tools.js'],
  ['imports', process.execPath, 'scripts/dist/check-imports.js'],
  ['format and lint', process.execPath, 'node_modules/@biomejs/biome/bin/biome', 'check', '.'],
  ['floating promises', process.execPath, 'node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'],
];
/** In the order in which they begin, two at a time: those that wait beside those that work, the short ones at the end. */
const SUITES = [
  'distribution',
  'unit',
  'faults',
  'control-plane',
  'e2e',
  'property',
  'server',
  'processes',
  'browser',
  'sdk',
  'isolation',
  'webhooks',
  'openfeature',
  'compat',
  'vectors',
] as const;
const SUITES_AT_ONCE = 2;
/**
 * Their files start real processes, servers and caches and wait for them by the clock. On a machine that stands still for some seconds such
 * a wait ends too early, so a file of theirs that fails is run once more by itself. What passes then is printed beside what failed.
 * A process that dies is no such wait: it is never run again.
 * They wait more than they work: three files at a time, four where most wait for heartbeats and caches to grow old. Of the others one at a
 * time keeps the other core busy.
 */
const SUITES_BY_THE_CLOCK: ReadonlySet<string> = new Set([
  'server',
  'distribution',
  'compat',
  'webhooks',
  'processes',
  'faults',
  'browser',
  'sdk',
  'openfeature',
  'e2e',
]);
/** A machine that stands still hits one or two files; more is a defect. */
const FILES_RUN_AGAIN_MAX = 2;
/** Its files start whole installations and benchmarks: one after the other, or they wait for each other's cores. */
const SEQUENTIAL_SUITES: ReadonlySet<string> = new Set(['e2e']);
/** Files of pure functions and of parts that their tests close: they share a process, which has loaded the engine once. */
const SUITES_OF_ONE_PROCESS: ReadonlySet<string> = new Set(['unit', 'vectors']);
const DEEP_SUITES: readonly string[] = [
  'unit',
  'control-plane',
  'webhooks',
  'vectors',
  'property',
  'processes',
  'distribution',
  'isolation',
  'sdk',
];

interface Outcome {
  readonly name: string;
  readonly passedCount: number;
  readonly failedCount: number;
  readonly seconds: number;
  /** A line each: the test and the first line of what it said. */
  readonly failures: readonly string[];
  /** What failed at first, in files that were run again. */
  readonly runAgain?: readonly string[];
}

/** What is read of vitest's JSON report. */
interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly { status: string; fullName: string; failureMessages: readonly string[] }[];
  }[];
}

function runCheck([name, command, ...args]: (typeof CHECKS)[number]): Outcome {
  const startedMs = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) process.stdout.write(`${stdout}${stderr}`);
  return {
    name,
    passedCount: status === 0 ? 1 : 0,
    failedCount: status === 0 ? 0 : 1,
    seconds: secondsSince(startedMs),
    failures: status === 0 ? [] : [name],
  };
}

async function runSuite(name: string): Promise<Outcome> {
  const startedMs = performance.now();
  const first = await runVitest(name, []);
  const { passedCount, failures, failedFiles } = first;
  const isFewFiles = failedFiles.length > 0 && failedFiles.length <= FILES_RUN_AGAIN_MAX;
  if (!SUITES_BY_THE_CLOCK.has(name) || !isFewFiles || first.hasDied) {
    return { name, passedCount, failedCount: failures.length, seconds: secondsSince(startedMs), failures };
  }
  for (const failure of failures) console.log(`\nRUN AGAIN ${failure}`);
  const again = await runVitest(name, failedFiles);
  return {
    name,
    // Of the files that were run again the second run alone counts.
    passedCount: passedCount - first.passedInFailedFiles + again.passedCount,
    failedCount: again.failures.length,
    seconds: secondsSince(startedMs),
    failures: again.failures,
    runAgain: failures,
  };
}

interface VitestRun {
  readonly passedCount: number;
  readonly passedInFailedFiles: number;
  readonly failures: readonly string[];
  readonly failedFiles: readonly string[];
  /** A test was begun or left out without an end, or a file failed outside its tests. */
  readonly hasDied: boolean;
}

/** Runs the suite, or only `files` of it. What it prints comes out whole when it has ended; of a campaign, which lasts hours, at once. */
async function runVitest(suite: string, files: readonly string[]): Promise<VitestRun> {
  const folder = mkdtempSync(join(tmpdir(), 'guidon-tests-'));
  const report = join(folder, 'report.json');
  const output = join(folder, 'output');
  const descriptor = campaign === undefined ? openSync(output, 'w') : process.stdout.fd;
  console.log(`\n=== ${suite} begins`);
  const vitest = spawn(process.execPath, [...vitestArguments(suite, report), ...files], {
    stdio: ['ignore', descriptor, descriptor],
    env: campaign === undefined ? process.env : { ...process.env, GUIDON_DEEP: '1' },
  });
  const [status] = await once(vitest, 'exit');
  if (campaign === undefined) {
    closeSync(descriptor);
    console.log(`\n=== ${suite}`);
    process.stdout.write(readFileSync(output));
  }
  const run = readReport(report);
  rmSync(folder, { recursive: true });
  // A suite that ends badly without a failing test (a crash, an unhandled rejection, no test found) counts as one failure.
  return status !== 0 && run.failures.length === 0
    ? { ...run, failures: [`${suite} ended with status ${status}`] }
    : run;
}

function vitestArguments(suite: string, report: string): string[] {
  const place = ['node_modules/vitest/vitest.mjs', 'run', '--root', 'test', '--dir', join('test', suite)];
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const isolation = SUITES_OF_ONE_PROCESS.has(suite) ? ['--no-isolate'] : [];
  return [...place, ...reporters, ...isolation, `--maxWorkers=${workerCount(suite)}`];
}

/** How many files of the suite run at a time. */
function workerCount(suite: string): number {
  if (SEQUENTIAL_SUITES.has(suite)) return 1;
  if (!SUITES_BY_THE_CLOCK.has(suite)) return campaign === undefined ? 1 : 2;
  return suite === 'distribution' ? 4 : 3;
}

/** What passed and what did not. A skipped test proves nothing, so it counts against the run; so does a file that did not load. */
function readReport(report: string): VitestRun {
  if (!existsSync(report)) {
    return { passedCount: 0, passedInFailedFiles: 0, failures: [], failedFiles: [], hasDied: true };
  }
  const { numPassedTests, testResults }: Report = JSON.parse(readFileSync(report, 'utf8'));
  const files = testResults.map(({ name, message, assertionResults }) => {
    const file = relative(process.cwd(), name);
    const failed = assertionResults
      .filter(({ status }) => status !== 'passed')
      .map(
        ({ status, fullName, failureMessages }) => `${file}: ${fullName}: ${firstLine(failureMessages[0] ?? status)}`,
      );
    const failures = failed.length === 0 && message !== '' ? [`${file}: ${firstLine(message)}`] : failed;
    const hasDied = assertionResults.some(({ status }) => status !== 'passed' && status !== 'failed');
    const passedCount = assertionResults.length - failed.length;
    return { path: name, failures, passedCount, hasDied: hasDied || failures.length > failed.length };
  });
  const bad = files.filter(({ failures }) => failures.length > 0);
  return {
    passedCount: numPassedTests,
    passedInFailedFiles: bad.reduce((sum, { passedCount }) => sum + passedCount, 0),
    failures: bad.flatMap(({ failures }) => failures),
    failedFiles: bad.map(({ path }) => path),
    hasDied: bad.some(({ hasDied }) => hasDied),
  };
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

function secondsSince(startedMs: number): number {
  return Math.round((performance.now() - startedMs) / 100) / 10;
}

const campaign = process.argv.includes('--faults')
  ? ['faults']
  : process.argv.includes('--deep')
    ? DEEP_SUITES
    : undefined;
const outcomes: Outcome[] = campaign === undefined ? CHECKS.map(runCheck) : [];
const waiting = [...(campaign ?? SUITES)];
async function runWaiting(): Promise<void> {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) outcomes.push(await runSuite(name));
}
await Promise.all(Array.from({ length: campaign === undefined ? SUITES_AT_ONCE : 1 }, runWaiting));

console.log('\nsuite                 passed  failed  seconds');
for (const { name, passedCount, failedCount, seconds } of outcomes) {
  console.log(
    `${name.padEnd(20)} ${String(passedCount).padStart(7)} ${String(failedCount).padStart(7)} ${seconds.toFixed(1).padStart(8)}`,
  );
}
for (const failure of outcomes.flatMap(({ runAgain }) => runAgain ?? [])) console.log(`RUN AGAIN ${failure}`);
for (const failure of outcomes.flatMap(({ failures }) => failures)) console.log(`FAILED ${failure}`);
const passed = outcomes.reduce((sum, { passedCount }) => sum + passedCount, 0);
const failed = outcomes.reduce((sum, { failedCount }) => sum + failedCount, 0);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
console.log(`${passed} passed, ${failed} failed`);
