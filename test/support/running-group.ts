import { Agent, request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { ProcessGroup, type ProcessGroupOptions, type RunningProcessGroup } from '@guidon/server/processes';
import pino from 'pino';
import { temporaryDirectory } from './running-node.js';
import type { SignedFeedServer } from './signed-feed-server.js';

/** What `guidon server --processes` forks. */
export const SERVER_PROCESS = fileURLToPath(import.meta.resolve('@guidon/cli/run/server-process.js'));

export interface GroupProcess {
  readonly index: number;
  readonly pid: number;
  readonly isListening: boolean;
  readonly isLeading: boolean;
}

/** A node of several real processes, its parent being the test. */
export class RunningGroup {
  readonly group: RunningProcessGroup;
  readonly directory: string;

  private constructor(group: RunningProcessGroup, directory: string) {
    this.group = group;
    this.directory = directory;
  }

  static async start(
    feed: SignedFeedServer,
    options: Partial<ProcessGroupOptions> & { readonly processCount: number },
  ): Promise<RunningGroup> {
    const dataDirectory = options.dataDirectory ?? (await temporaryDirectory());
    const group = await ProcessGroup.start({
      dataDirectory,
      controlPlaneUrl: feed.url,
      nodeCredential: feed.nodeCredential,
      trustRoot: feed.trustRoot,
      host: '127.0.0.1',
      port: 0,
      metricsPort: 0,
      entry: SERVER_PROCESS,
      pollIntervalMs: 50,
      logLevel: 'silent',
      logger: pino({ level: 'silent' }),
      ...options,
    });
    return new RunningGroup(group, dataDirectory);
  }

  async readyStatus(): Promise<number> {
    return (await fetch(`${this.group.metricsUrl}/readyz`)).status;
  }

  /** Those that live, as the parent shows them. */
  async processes(): Promise<GroupProcess[]> {
    return findProcesses(await (await fetch(`${this.group.metricsUrl}/readyz?verbose`)).text());
  }

  async leader(): Promise<GroupProcess> {
    const leader = (await this.processes()).find(({ isLeading }) => isLeading);
    if (leader === undefined) throw new Error('no process leads');
    return leader;
  }

  async follower(): Promise<GroupProcess> {
    const follower = (await this.processes()).find(({ isLeading, isListening }) => isListening && !isLeading);
    if (follower === undefined) throw new Error('no process follows');
    return follower;
  }

  async metrics(): Promise<Metrics> {
    return new Metrics(await (await fetch(`${this.group.metricsUrl}/metrics`)).text());
  }

  /** Of an environment, in the process that is furthest behind. */
  async revisionEverywhere(environmentId: string): Promise<number> {
    return (await this.metrics()).value(`guidon_snapshot_revision{environment="${environmentId}"}`);
  }
}

export function findProcesses(verbose: string): GroupProcess[] {
  return [...verbose.matchAll(/^process (\d+) pid (\d+) (\w+)(.*)$/gm)].map(([, index, pid, state, rest]) => ({
    index: Number(index),
    pid: Number(pid),
    isListening: state === 'listening',
    isLeading: rest?.includes(' leading') === true,
  }));
}

export class Metrics {
  readonly page: string;
  readonly #values = new Map<string, number>();

  constructor(page: string) {
    this.page = page;
    for (const line of page.split('\n')) {
      if (line === '' || line.startsWith('#')) continue;
      const end = line.lastIndexOf(' ');
      if (this.#values.has(line.slice(0, end))) throw new Error(`a sample stands twice: ${line}`);
      this.#values.set(line.slice(0, end), Number(line.slice(end + 1)));
    }
  }

  value(sample: string): number {
    return this.#values.get(sample) ?? Number.NaN;
  }

  /** By the label `process`. */
  perProcess(name: string): number[] {
    return [...this.#values].flatMap(([sample, value]) => (sample.startsWith(`${name}{process=`) ? [value] : []));
  }
}

/** One kept-alive connection, which stays with the process that accepted it. */
export class KeptConnection {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #url: URL;
  readonly #key: string;
  connectionCount = 0;

  constructor(url: string, key: string) {
    this.#url = new URL('/v1/evaluate', url);
    this.#key = key;
  }

  /** Rejects when the connection breaks under the request. */
  evaluate(body: object): Promise<{ status: number; body: Record<string, unknown> }> {
    return new Promise((resolve, reject) => {
      const bytes = Buffer.from(JSON.stringify(body));
      const sent = request(
        this.#url,
        {
          agent: this.#agent,
          method: 'POST',
          headers: {
            authorization: `Bearer ${this.#key}`,
            'content-type': 'application/json',
            'content-length': bytes.length,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () =>
            resolve({ status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString()) }),
          );
        },
      );
      sent.once('socket', (socket) => {
        if (socket.connecting) this.connectionCount += 1;
      });
      sent.once('error', reject);
      sent.end(bytes);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
