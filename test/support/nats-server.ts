import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { temporaryFolder, untilStopped } from './guidon-process.js';

/** How long a server may take to answer after its start, milliseconds. */
const START_MS_MAX = 10_000;

export interface NatsServerOptions {
  /** Lines beside port and JetStream. */
  readonly config?: string;
  /** Default true. */
  readonly hasJetStream?: boolean;
  /** Of JetStream. */
  readonly domain?: string;
}

/** A real nats-server on a free port of loopback, with a store of its own; ended by pid. */
export class NatsServer {
  readonly port: number;
  readonly #folder = temporaryFolder('nats');
  readonly #config: string;
  #child: ChildProcess | undefined;

  static async start(options: NatsServerOptions = {}): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), options);
    await server.resume();
    return server;
  }

  private constructor(port: number, { config = '', hasJetStream = true, domain }: NatsServerOptions) {
    this.port = port;
    this.#config = join(this.#folder.path, 'nats.conf');
    const jetstream = hasJetStream
      ? `jetstream { store_dir: "${this.storeFolder}", max_file: 2GB, max_mem: 64MB${domain === undefined ? '' : `, domain: ${domain}`} }`
      : '';
    writeFileSync(this.#config, `listen: "127.0.0.1:${port}"\n${jetstream}\n${config}\n`);
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get storeFolder(): string {
    return join(this.#folder.path, 'jetstream');
  }

  /** Starts it again on the same port, with what its store has. */
  async resume(): Promise<void> {
    const child = spawn('nats-server', ['-c', this.#config], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    const deadlineMs = performance.now() + START_MS_MAX;
    while (!output.includes('Server is ready')) {
      if (child.exitCode !== null || performance.now() > deadlineMs) throw new Error(`nats-server:\n${output}`);
      await new Promise((wake) => setTimeout(wake, 10));
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** SIGSTOP, and back when no thread runs any more: a moment after the signal one of several may still answer. */
  async pause(): Promise<void> {
    const pid = this.#child?.pid;
    this.signal('SIGSTOP');
    if (pid !== undefined) await untilStopped(pid);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** While it is down: a copy of what it keeps, for replaceStore(). */
  copyStore(): string {
    const copy = `${this.storeFolder}-copy`;
    cpSync(this.storeFolder, copy, { recursive: true });
    return copy;
  }

  /** While it is down: it has what the copy has, and nothing that came after. */
  replaceStore(copy: string): void {
    this.deleteStore();
    renameSync(copy, this.storeFolder);
  }

  deleteStore(): void {
    rmSync(this.storeFolder, { recursive: true, force: true });
  }

  async dispose(): Promise<void> {
    await this.kill();
    this.#folder.remove();
  }
}

/** Free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  probe.close();
  await once(probe, 'close');
  return port;
}
