import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { headersOf, httpRequest } from '../support/http-request.js';
import type { HttpCase } from './http-cases.js';

/** What a generator saw in one window. */
export interface Window {
  readonly rps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Of one core. */
  readonly cpuGenerator: number;
}

/** Sends `httpCase` to a port for some seconds. Throws when an answer was no 2xx. */
export type Generator = (port: number, seconds: number) => Promise<Window>;

const REPLAY = fileURLToPath(new URL('../../http/replay.lua', import.meta.url));
const WRK_DEADLINE_MS = 30_000;
/** Each of its connections makes every request anew before the first is sent. */
const AUTOCANNON_QUESTION_COUNT = 50;

/** `folder` is for the file that wrk reads its requests from. */
export function generatorOf(httpCase: HttpCase, token: string, folder: string): Generator {
  return httpCase.generator === 'wrk' ? wrkOf(httpCase, token, folder) : autocannonOf(httpCase, token);
}

export function isWrkThere(): boolean {
  return spawnSync('sh', ['-c', 'command -v wrk']).status === 0;
}

/** For benchmarks that make no sense without it. */
export function assertWrkIsThere(): void {
  if (!isWrkThere()) throw new Error('wrk is missing: install it (Debian: apt-get install wrk) and run this again.');
}

function wrkOf(httpCase: HttpCase, token: string, folder: string): Generator {
  const { path, format, questions } = httpCase;
  const requests = questions.map(({ body }) => httpRequest(body, { path, format, token }));
  return replayWithWrk(requests, join(folder, 'requests'), httpCase);
}

/**
 * In C, on one thread: the generator that is not itself the limit. Sends whole requests in turn; `file` is where it reads them from.
 */
export function replayWithWrk(
  requests: readonly Buffer[],
  file: string,
  { connections, pipelining, name }: Pick<HttpCase, 'connections' | 'pipelining' | 'name'>,
): Generator {
  const pieces: Buffer[] = [];
  for (let first = 0; first < requests.length; first += pipelining) {
    const piece = Buffer.concat(requests.slice(first, first + pipelining));
    pieces.push(Buffer.from(`${piece.length}\n`), piece);
  }
  writeFileSync(file, Buffer.concat(pieces));
  return async (port, seconds) => {
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', REPLAY, `http://127.0.0.1:${port}`, '--', file];
    const child = spawn('wrk', args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: WRK_DEADLINE_MS });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    const [status]: unknown[] = await once(child, 'close');
    const line = output.trim().split('\n').at(-1) ?? '';
    if (status !== 0 || !line.startsWith('{')) throw new Error(`wrk ended with ${String(status)}: ${output}`);
    const seen: Record<keyof Window | 'seconds' | 'requests' | 'failures' | 'cpuSeconds', number> = JSON.parse(line);
    if (seen.failures > 0) throw new Error(`${name}: ${seen.failures} requests failed`);
    // wrk says 0 for what lies beyond its histogram.
    const [p50Ms, p99Ms, p999Ms] = [seen.p50Ms || Number.NaN, seen.p99Ms || Number.NaN, seen.p999Ms || Number.NaN];
    const cpuGenerator = seen.cpuSeconds / seen.seconds;
    return { rps: seen.requests / seen.seconds, p50Ms, p99Ms, p999Ms, cpuGenerator };
  };
}

/** In this process. Without pipelining it is itself the limit. */
function autocannonOf(httpCase: HttpCase, token: string): Generator {
  const { path, format, connections, pipelining } = httpCase;
  const headers = headersOf({ path, format, token });
  const questions = httpCase.questions.slice(0, AUTOCANNON_QUESTION_COUNT);
  const requests = questions.map(({ body }) => ({ method: 'POST' as const, path, headers, body }));
  return async (port, seconds) => {
    const before = process.cpuUsage();
    const startedMs = performance.now();
    const result = await autocannon({
      url: `http://127.0.0.1:${port}`,
      connections,
      pipelining,
      duration: seconds,
      requests,
    });
    const { user, system } = process.cpuUsage(before);
    const { non2xx, errors, latency } = result;
    if (non2xx > 0 || errors > 0) throw new Error(`${httpCase.name}: ${non2xx} were no 2xx, ${errors} errors`);
    const { p50: p50Ms, p99: p99Ms, p99_9: p999Ms } = latency;
    const cpuGenerator = (user + system) / 1e3 / (performance.now() - startedMs);
    return { rps: result.requests.total / result.duration, p50Ms, p99Ms, p999Ms, cpuGenerator };
  };
}
