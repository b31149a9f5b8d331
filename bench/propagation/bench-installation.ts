import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const GUIDON = fileURLToPath(new URL('../../../cli/dist/main.js', import.meta.url));
const START_MS_MAX = 60_000;
/** What pages see of the flags: the first ones. */
const CLIENT_FLAG_COUNT = 50;
/** Ten thousand streams, and those that ask beside them. */
const CONNECTION_COUNT_MAX = 15_000;

/**
 * nats-server, `guidon control-plane` and `guidon server`, each a process of its own on loopback, with one tenant, one environment and its
 * flags. What runs is what an operator runs.
 */
export class BenchInstallation {
  readonly folder = mkdtempSync(join(tmpdir(), 'guidon-bench-propagation-'));
  readonly #processes: Started[] = [];
  #nats: Started | undefined;
  #natsArguments: readonly string[] = [];
  #admin = '';
  /** Of the control plane. */
  url = '';
  /** Of the node. */
  nodeUrl = '';
  nodeMetricsUrl = '';
  /** Of the node's own process. */
  nodePid = 0;
  /** Of the command: what works is a child of it. */
  controlPlanePid = 0;
  /** A `node` token. */
  nodeCredential = '';
  environmentUrl = '';
  environmentId = '';
  /** A `srv` token of the environment. */
  serverKey = '';
  /** A `web` token of it. */
  webKey = '';

  static async start(flagCount: number): Promise<BenchInstallation> {
    const installation = new BenchInstallation();
    try {
      await installation.#start(flagCount);
      return installation;
    } catch (error) {
      await installation.stop();
      throw error;
    }
  }

  /** As an operator would: the processes go on without it. */
  async stopNats(): Promise<void> {
    await this.#nats?.stop('SIGKILL');
  }

  /** Calls the admin API; throws when the answer is no success. */
  async call(method: string, url: string, body?: object, headers: Record<string, string> = {}): Promise<AdminAnswer> {
    const response = await fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${this.#admin}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}: ${text}`);
    return { body: text === '' ? {} : JSON.parse(text), etag: response.headers.get('etag') ?? '' };
  }

  /** Changes the targeting of a flag; resolves with the revision when it has been acknowledged. */
  async turn(flag: string, on: boolean): Promise<{ revision: number; acknowledgedAtMs: number }> {
    const url = `${this.environmentUrl}/flags/${flag}/targeting`;
    const { etag } = await this.call('GET', url);
    const { body } = await this.call(
      'PATCH',
      url,
      { on },
      { 'content-type': 'application/merge-patch+json', 'if-match': etag },
    );
    return { revision: Number(body.revision), acknowledgedAtMs: performance.now() };
  }

  async stop(): Promise<void> {
    for (const started of this.#processes.reverse()) await started.stop('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #start(flagCount: number): Promise<void> {
    const natsPort = await freePort();
    const config = join(this.folder, 'nats.conf');
    const store = `jetstream { store_dir: "${join(this.folder, 'nats')}", max_file: 2GB, max_mem: 64MB }`;
    writeFileSync(config, `listen: "127.0.0.1:${natsPort}"\n${store}\n`);
    this.#nats = this.#run('nats-server', ['-c', config]);
    await this.#nats.waitFor(/Server is ready/);
    this.#natsArguments = ['--nats', `nats://127.0.0.1:${natsPort}`];
    const keyFile = join(this.folder, 'node.key');
    const places = ['--data', join(this.folder, 'cp'), '--node-credential-file', keyFile, '--port', '0'];
    const controlPlane = this.#guidon(['control-plane', ...places]);
    this.url = (await controlPlane.waitFor(/control plane: (http\S+)/))[1] ?? '';
    const setup = new URL((await controlPlane.waitFor(/first admin: (http\S+)/))[1] ?? '');
    this.controlPlanePid = controlPlane.pid;
    this.nodeCredential = readFileSync(keyFile, 'utf8').trim();
    await this.#seed(setup.hash.slice(1), flagCount);
    const node = this.#guidon([
      'server',
      '--control-plane',
      this.url,
      '--node-credential-file',
      keyFile,
      '--data',
      join(this.folder, 'node'),
      '--port',
      '0',
      '--metrics-port',
      '0',
      '--quotas',
      JSON.stringify({ node: { connections: CONNECTION_COUNT_MAX } }),
    ]);
    const [, url = '', metricsUrl = ''] = await node.waitFor(/data plane: (http\S+)\s+health: (http\S+)\/readyz/);
    this.nodeUrl = url;
    this.nodeMetricsUrl = metricsUrl;
    this.nodePid = node.pid;
    while ((await fetch(`${metricsUrl}/readyz`)).status !== 200) await new Promise((wake) => setTimeout(wake, 10));
  }

  async #seed(token: string, flagCount: number): Promise<void> {
    const setup = await this.call('POST', `${this.url}/api/v1/setup`, { token, name: 'bench' });
    this.#admin = String(setup.body.token);
    const tenant = await this.call('POST', `${this.url}/api/v1/tenants`, { key: 'bench', name: 'Bench' });
    const projects = `${this.url}/api/v1/tenants/${String(tenant.body.id)}/projects`;
    await this.call('POST', projects, { key: 'bench', name: 'Bench' });
    const project = `${projects}/bench`;
    const environment = await this.call('POST', `${project}/environments`, { key: 'bench', name: 'Bench' });
    this.environmentId = String(environment.body.id);
    this.environmentUrl = `${project}/environments/bench`;
    const credentials = `${this.environmentUrl}/credentials`;
    this.serverKey = String((await this.call('POST', credentials, { kind: 'srv', name: 'bench' })).body.token);
    this.webKey = String((await this.call('POST', credentials, { kind: 'web', name: 'bench' })).body.token);
    for (let index = 0; index < flagCount; index += 1) {
      const flag = { key: flagKey(index), type: 'boolean', clientSide: index < CLIENT_FLAG_COUNT };
      await this.call('POST', `${project}/flags`, flag);
    }
  }

  #guidon(args: readonly string[]): Started {
    return this.#run(process.execPath, [GUIDON, ...args, ...this.#natsArguments]);
  }

  #run(command: string, args: readonly string[]): Started {
    const started = new Started(command, args);
    this.#processes.push(started);
    return started;
  }
}

export interface AdminAnswer {
  readonly body: Readonly<Record<string, unknown>>;
  readonly etag: string;
}

export const flagKey = (index: number): string => `flag-${String(index).padStart(4, '0')}`;

/** A child process and what it has said; it goes with its pipes when this process ends. */
class Started {
  readonly #child: ChildProcess;
  #output = '';

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const collect = (chunk: Buffer): void => {
      if (this.#output.length < 65_536) this.#output += chunk.toString();
    };
    this.#child.stdout?.on('data', collect);
    this.#child.stderr?.on('data', collect);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    const deadlineMs = performance.now() + START_MS_MAX;
    while (performance.now() < deadlineMs && this.#child.exitCode === null) {
      const match = pattern.exec(this.#output);
      if (match !== null) return match;
      await new Promise((wake) => setTimeout(wake, 20));
    }
    throw new Error(`no ${pattern} in:\n${this.#output}`);
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await exited;
    clearTimeout(timer);
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  probe.close();
  await once(probe, 'close');
  return port;
}
