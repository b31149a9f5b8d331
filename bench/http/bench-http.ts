import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { type HttpCase, httpCases } from './http-cases.js';

/**
 * Requests per second over HTTP, each case beside a bare uWebSockets.js echo with the same request and an answer of the same size.
 * Both run in processes of their own and take turns, so that drift of the machine touches both alike; the medians are printed. The
 * generator is a process too: on two cores it, not the server, is the limit without pipelining, and then the ratio says little.
 * `--quick` runs one short round: it shows that everything works, not how fast.
 */
const isQuick = process.argv.includes('--quick');
const ROUND_COUNT = isQuick ? 1 : 5;
const WINDOW_SECONDS = isQuick ? 1 : 3;

interface Window {
  readonly rps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

interface Row extends Window {
  readonly name: string;
  readonly connections: number;
  readonly pipelining: number;
  readonly evalsPerSecond: number;
  readonly echoRps: number;
  readonly ratio: number;
}

async function startProcess(
  script: string,
  ...args: string[]
): Promise<{ child: ChildProcess; ready: Record<string, unknown> }> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const [line]: unknown[] = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([status]) => Promise.reject(new Error(`${script} ended with ${status}`))),
  ]);
  return { child, ready: JSON.parse(String(line)) };
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

async function measure(port: number, httpCase: HttpCase, headers: Record<string, string>): Promise<Window> {
  const result = await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections: httpCase.connections,
    pipelining: httpCase.pipelining,
    duration: WINDOW_SECONDS,
    requests: httpCase.bodies.map((body) => ({ method: 'POST', path: httpCase.path, headers, body })),
  });
  if (result.non2xx > 0 || result.errors > 0) {
    throw new Error(`${httpCase.name}: ${result.non2xx} answers were not 2xx, ${result.errors} errors`);
  }
  return { rps: result.requests.average, p50Ms: result.latency.p50, p99Ms: result.latency.p99 };
}

async function runCase(guidon: { port: number; key: string }, httpCase: HttpCase): Promise<Row> {
  const headers = {
    'content-type': httpCase.contentType,
    accept: httpCase.contentType,
    authorization: `Bearer ${guidon.key}`,
    'user-agent': 'guidon-bench',
    'accept-encoding': 'identity',
  };
  const first = await fetch(`http://127.0.0.1:${guidon.port}${httpCase.path}`, {
    method: 'POST',
    headers,
    body: Uint8Array.from(httpCase.bodies[0] ?? []),
  });
  const answerBytes = (await first.arrayBuffer()).byteLength;
  if (first.status !== 200) throw new Error(`${httpCase.name} answered ${first.status}`);
  const echo = await startProcess('echo-process.js', String(answerBytes), httpCase.contentType);
  const ours: Window[] = [];
  const theirs: Window[] = [];
  try {
    for (let round = 0; round < ROUND_COUNT; round += 1) {
      theirs.push(await measure(Number(echo.ready.port), { ...httpCase, path: '/v1/evaluate' }, headers));
      ours.push(await measure(guidon.port, httpCase, headers));
    }
  } finally {
    await stopProcess(echo.child);
  }
  const rps = median(ours.map((window) => window.rps));
  return {
    name: httpCase.name,
    connections: httpCase.connections,
    pipelining: httpCase.pipelining,
    rps: Math.round(rps),
    evalsPerSecond: Math.round(rps * httpCase.evaluationsPerRequest),
    p50Ms: median(ours.map((window) => window.p50Ms)),
    p99Ms: median(ours.map((window) => window.p99Ms)),
    echoRps: Math.round(median(theirs.map((window) => window.rps))),
    ratio:
      Math.round(median(ours.map((window, index) => window.rps / (theirs[index]?.rps ?? Number.NaN))) * 1_000) / 1_000,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const guidon = await startProcess('guidon-process.js');
const target = { port: Number(guidon.ready.port), key: String(guidon.ready.key) };
const rows: Row[] = [];
try {
  for (const httpCase of httpCases()) {
    const row = await runCase(target, httpCase);
    rows.push(row);
    console.error(`measured ${row.name} x${row.pipelining}`);
  }
} finally {
  await stopProcess(guidon.child);
}
console.table(rows);
console.log(JSON.stringify({ http: rows }));
