import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The test command: structure and lint checks, then each folder of test/ as one suite with its time. `--deep` runs the long campaigns
 * instead, `--faults` that of the fault proofs alone. The last line is `N passed, N failed`; the exit status is 0 only when nothing failed and something passed.
 */
const CHECKS: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['test tools', process.execPath, 'scripts/dist/ensure-test-tools.js'],
  ['imports', process.execPath, 'scripts/dist/check-imports.js'],
  ['format and lint', process.execPath, 'node_modules/@biomejs/biome/bin/biome', 'check', '.'],
  ['floating promises', process.execPath, 'node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'],
];
const SUITES = [
  'unit',
  'vectors',
  'property',
  'control-plane',
  'server',
  'distribution',
  'compat',
  'isolation',
  'processes',
  'faults',
  'e2e',
] as const;
/** Its files start whole installations and benchmarks: one after the other, or they wait for each other's cores. */
const SEQUENTIAL_SUITES: ReadonlySet<string> = new Set(['e2e']);
const DEEP_SUITES: readonly string[] = ['vectors', 'property', 'processes', 'distribution', 'isolation'];

interface Outcome {
  readonly name: string;
  readonly passedCount: number;
  readonly failedCount: number;
  readonly seconds: number;
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
  };
}

function runSuite(name: string, environment: NodeJS.ProcessEnv): Outcome {
  const startedMs = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'guidon-tests-'));
  const report = join(folder, 'report.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--root', 'test', '--dir', join('test', name), ...reporters];
  if (SEQUENTIAL_SUITES.has(name)) vitest.push('--no-file-parallelism');
  const { status } = spawnSync(process.execPath, vitest, { stdio: 'inherit', env: environment });
  const counts = countsOf(report);
  rmSync(folder, { recursive: true });
  // A suite that ends badly without a failing test (a crash, an unhandled rejection, no test found) counts as one failure.
  const failedCount = status !== 0 && counts.failedCount === 0 ? 1 : counts.failedCount;
  return { name, passedCount: counts.passedCount, failedCount, seconds: secondsSince(startedMs) };
}

function countsOf(report: string): { passedCount: number; failedCount: number } {
  if (!existsSync(report)) return { passedCount: 0, failedCount: 0 };
  const counts: Record<'numPassedTests' | 'numFailedTests' | 'numPendingTests', number> = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  // A skipped test proves nothing, so it counts against the run.
  return { passedCount: counts.numPassedTests, failedCount: counts.numFailedTests + counts.numPendingTests };
}

function secondsSince(startedMs: number): number {
  return Math.round((performance.now() - startedMs) / 100) / 10;
}

const campaign = process.argv.includes('--faults')
  ? ['faults']
  : process.argv.includes('--deep')
    ? DEEP_SUITES
    : undefined;
const outcomes: Outcome[] = campaign === undefined ? CHECKS.map(runCheck) : [];
for (const name of campaign ?? SUITES) {
  console.log(`\n=== ${name}`);
  outcomes.push(runSuite(name, campaign === undefined ? process.env : { ...process.env, GUIDON_DEEP: '1' }));
}

console.log('\nsuite                 passed  failed  seconds');
for (const { name, passedCount, failedCount, seconds } of outcomes) {
  console.log(
    `${name.padEnd(20)} ${String(passedCount).padStart(7)} ${String(failedCount).padStart(7)} ${seconds.toFixed(1).padStart(8)}`,
  );
}
const passed = outcomes.reduce((sum, { passedCount }) => sum + passedCount, 0);
const failed = outcomes.reduce((sum, { failedCount }) => sum + failedCount, 0);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
console.log(`${passed} passed, ${failed} failed`);
