import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * How long a newcomer waits: `npm start` on a clean checkout (build included) and again on the built one, each until the first flag is
 * evaluated; and from sending a change to the admin API until the data plane answers with it. Comparison in the same run: a bare
 * `node -e 0`, and one admin read, over the same loopback. The checkout is copied from HEAD with the installed packages.
 */
const CHANGE_COUNT = process.argv.includes('--quick') ? 5 : 200;

const repository = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-start-'));
const checkout = join(folder, 'checkout');

interface Dev {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly startedMs: number;
}

function startDev(): Dev {
  let text = '';
  const startedMs = performance.now();
  const args = [
    'start',
    '--silent',
    '--',
    '--data',
    join(folder, 'data'),
    '--port',
    '0',
    '--admin-port',
    '0',
    '--metrics-port',
    '0',
  ];
  // A process group of its own, so that the signal reaches the program below npm and its shell.
  const child = spawn('npm', args, { cwd: checkout, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return { child, output: () => text, startedMs };
}

async function printed(dev: Dev, pattern: RegExp): Promise<string> {
  for (;;) {
    const found = pattern.exec(dev.output())?.[1];
    if (found !== undefined && dev.output().includes('Ctrl-C stops')) return found;
    if (dev.child.exitCode !== null) throw new Error(`npm start ended with ${dev.child.exitCode}:\n${dev.output()}`);
    await new Promise((wake) => setTimeout(wake, 5));
  }
}

async function stop(dev: Dev): Promise<void> {
  if (dev.child.pid !== undefined) process.kill(-dev.child.pid, 'SIGINT');
  await once(dev.child, 'exit');
}

async function evaluate(url: string, key: string, minRevision?: number): Promise<unknown> {
  const response = await fetch(`${url}/v1/evaluate`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      flags: 'new-checkout',
      context: { targetingKey: 'user-1' },
      ...(minRevision === undefined ? {} : { minRevision }),
    }),
  });
  if (response.status !== 200) throw new Error(`evaluate answered ${response.status}: ${await response.text()}`);
  return response.json();
}

async function firstFlagMs(dev: Dev): Promise<number> {
  const url = await printed(dev, /evaluate API\s+(\S+)/);
  await evaluate(url, await printed(dev, /server key\s+(\S+)/));
  return performance.now() - dev.startedMs;
}

/** Turns one flag on and off; each change is timed from sending the PATCH until an evaluation at its revision has answered. */
async function measureChanges(dev: Dev): Promise<{ changes: number[]; reads: number[] }> {
  const adminUrl = await printed(dev, /admin API\s+(\S+)/);
  const evaluateUrl = await printed(dev, /evaluate API\s+(\S+)/);
  const key = await printed(dev, /server key\s+(\S+)/);
  const tenant = await printed(dev, /demo tenant\s+(\S+)/);
  const setupToken = new URL(await printed(dev, /first admin\s+(\S+)/)).hash.slice(1);
  const setup = await fetch(`${adminUrl}/api/v1/setup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token: setupToken, name: 'bench' }),
  });
  const { token }: { token: string } = JSON.parse(await setup.text());
  const authorization = `Bearer ${token}`;
  const targeting = `${adminUrl}/api/v1/tenants/${tenant}/projects/demo/environments/development/flags/new-checkout/targeting`;
  const changes: number[] = [];
  const reads: number[] = [];
  for (let count = 0; count < CHANGE_COUNT; count += 1) {
    const readMs = performance.now();
    const read = await fetch(targeting, { headers: { authorization } });
    await read.text();
    reads.push(performance.now() - readMs);
    const sentMs = performance.now();
    const written = await fetch(targeting, {
      method: 'PATCH',
      headers: {
        authorization,
        'content-type': 'application/merge-patch+json',
        'if-match': read.headers.get('etag') ?? '',
      },
      body: JSON.stringify({ on: count % 2 === 1 }),
    });
    const { revision }: { revision: number } = JSON.parse(await written.text());
    await evaluate(evaluateUrl, key, revision);
    changes.push(performance.now() - sentMs);
  }
  return { changes, reads };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN) * 10) / 10;
}

try {
  mkdirSync(checkout);
  execFileSync('sh', ['-c', `git archive HEAD | tar -x -C '${checkout}'`], { cwd: repository });
  for (const folder of ['.', ...readdirSync(checkout)]) {
    const packages = join(repository, folder, 'node_modules');
    if (!existsSync(packages)) continue;
    cpSync(packages, join(checkout, folder, 'node_modules'), { recursive: true, verbatimSymlinks: true });
  }
  const bareMs = performance.now();
  execFileSync(process.execPath, ['-e', '0']);
  const nodeMs = performance.now() - bareMs;

  const cold = startDev();
  const coldMs = await firstFlagMs(cold);
  const { changes, reads } = await measureChanges(cold);
  await stop(cold);
  const warm = startDev();
  const warmMs = await firstFlagMs(warm);
  await stop(warm);

  const start = {
    coldMs: Math.round(coldMs),
    warmMs: Math.round(warmMs),
    bareNodeMs: Math.round(nodeMs),
    change: { p50Ms: quantile(changes, 0.5), p99Ms: quantile(changes, 0.99), adminReadP50Ms: quantile(reads, 0.5) },
  };
  console.table({
    'clean checkout to first flag': start.coldMs,
    'again to first flag': start.warmMs,
    'bare node': start.bareNodeMs,
  });
  console.table({ 'change to evaluated change': start.change });
  console.log(JSON.stringify({ start }));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
