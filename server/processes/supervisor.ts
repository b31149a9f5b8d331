import { PlatformError, settlesWithin } from '@guidon/protocol';
import { type MetricFamily, renderFamilies } from '@guidon/protocol/metrics';
import type pino from 'pino';
import { HealthServer } from '../metrics/health-server.js';
import { urlOf } from '../url-of.js';
import { ChildHandle } from './child-handle.js';
import { CrashLoop } from './crash-loop.js';
import type { ChildMessage } from './messages.js';

/** What a supervised process is told beside its own options. */
export interface SupervisedOptions {
  readonly processIndex: number;
  /** The port of the start before; until one has listened the wished one. */
  readonly port: number;
}

export interface SupervisorOptions<Options extends SupervisedOptions> {
  /** The module to run. It speaks `ParentMessage` and `ChildMessage`: start, ping, report, reload-certificate, drain. */
  readonly entry: string;
  /** How log lines and sentences name it. */
  readonly name: string;
  readonly child: Options;
  /** On loopback. */
  readonly metricsPort: number;
  /** It is ended and started anew when it does not answer for so long (M7). */
  readonly hangMs: number;
  readonly logger: pino.Logger;
  /** It does not come up any more; everything has been closed. */
  readonly onGiveUp: (error: PlatformError) => void;
}

const METRICS_HOST = '127.0.0.1';
const HEARTBEATS = 10;
/** How long a process may take until it listens, milliseconds. */
const START_MS_MAX = 600_000;
/** Below what the command itself may take to end. */
const DRAIN_MS_MAX = 20_000;

/**
 * Keeps one process running: it alone does the work, this one only watches it and answers health and metrics, truthfully also while the other
 * hangs or is gone. A process that ends is started anew; one whose commit failed ends itself by SIGKILL (I3, M3), one that hangs is ended here.
 */
export class Supervisor<Options extends SupervisedOptions> {
  readonly #options: SupervisorOptions<Options>;
  readonly #crashes = new CrashLoop(1);
  readonly #heartbeat: NodeJS.Timeout;
  #child: ChildHandle<Options> | undefined;
  #port: number;
  #startCount = 0;
  #restart: NodeJS.Timeout | undefined;
  #health: HealthServer | undefined;
  #closing: Promise<void> | undefined;
  #onSettled: (error: PlatformError | undefined) => void = () => undefined;

  /** Resolves when the process listens; rejects with what it says when it cannot. */
  static async start<Options extends SupervisedOptions>(
    options: SupervisorOptions<Options>,
  ): Promise<Supervisor<Options>> {
    const supervisor = new Supervisor(options);
    try {
      const settled = new Promise<PlatformError | undefined>((resolve) => {
        supervisor.#onSettled = resolve;
      });
      await supervisor.#start();
      const failure = await settled;
      if (failure !== undefined) throw failure;
    } catch (error) {
      await supervisor.close();
      throw error;
    }
    supervisor.#onSettled = (failure) => {
      if (failure !== undefined) void supervisor.close().then(() => options.onGiveUp(failure));
    };
    return supervisor;
  }

  private constructor(options: SupervisorOptions<Options>) {
    this.#options = options;
    this.#port = options.child.port;
    this.#heartbeat = setInterval(() => this.#beat(), options.hangMs / HEARTBEATS);
  }

  get metricsUrl(): string {
    return urlOf(METRICS_HOST, this.#health?.port ?? 0);
  }

  reloadCertificate(): void {
    this.#child?.send({ type: 'reload-certificate' });
  }

  /** Not ready first; then the process finishes what it was asked, and ends. One that does not is killed. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #start(): Promise<void> {
    const { metricsPort, logger, hangMs } = this.#options;
    this.#health = await HealthServer.listen({
      host: METRICS_HOST,
      port: metricsPort,
      metrics: { render: () => this.#renderMetrics() },
      logger,
      // Between two starts and while it starts, starting this one anew would help nobody.
      isLive: () => this.#child?.state !== 'listening' || this.#child.isResponsive(hangMs),
      isReady: () => this.#isReady,
      details: () => this.#details(),
    });
    this.#spawn();
  }

  /** It says so, and has answered lately: what it said before it hung counts for nothing. */
  get #isReady(): boolean {
    const child = this.#child;
    if (child === undefined || child.state !== 'listening' || !child.isReady) return false;
    return child.isResponsive((2 * this.#options.hangMs) / HEARTBEATS);
  }

  #spawn(): void {
    if (this.#closing !== undefined) return;
    this.#startCount += 1;
    this.#child = new ChildHandle(
      this.#options.entry,
      { ...this.#options.child, port: this.#port },
      { message: (child, message) => this.#hear(child, message), exit: (child, how) => this.#exited(child, how) },
    );
  }

  #hear(child: ChildHandle<Options>, message: ChildMessage): void {
    if (message.type === 'ready') child.isReady = message.isReady;
    if (message.type !== 'listening') return;
    child.state = 'listening';
    child.listeningSinceMs = performance.now();
    this.#port = message.port ?? this.#port;
    this.#onSettled(undefined);
  }

  #exited(child: ChildHandle<Options>, how: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    if (this.#closing !== undefined) return;
    const { name, logger } = this.#options;
    const { failure, pid, listenedMs } = child;
    const waitMs = this.#crashes.endedMs(0, listenedMs);
    const hasListened = this.#startCount > 1 || listenedMs !== undefined;
    if (this.#crashes.isHopeless(failure !== undefined && !hasListened)) {
      this.#onSettled(failure ?? new PlatformError('not-ready', `the ${name} ends as it starts (${how})`));
      return;
    }
    logger.error(
      { pid, how, failure: failure?.message, waitMs: Math.round(waitMs) },
      `the ${name} ended; it is started again`,
    );
    this.#restart = setTimeout(() => this.#spawn(), waitMs);
  }

  #beat(): void {
    const { hangMs, logger, name } = this.#options;
    const child = this.#child;
    // Migrations may take long, and would begin anew after each kill.
    const patienceMs = child?.state === 'listening' ? hangMs : START_MS_MAX;
    if (child === undefined || !child.ping(hangMs / HEARTBEATS, patienceMs)) return;
    logger.error({ pid: child.pid }, `the ${name} hangs; it is ended`);
    child.kill();
  }

  async #renderMetrics(): Promise<string> {
    await this.#child?.refresh();
    const gauge = (name: string, help: string, value: number, type: 'gauge' | 'counter' = 'gauge'): MetricFamily => ({
      name,
      help,
      type,
      join: 'sum',
      samples: [{ name, labels: {}, value }],
    });
    return renderFamilies([
      ...(this.#child?.families ?? []),
      gauge('guidon_process_listening', '1 while the process takes connections', Number(this.#isListening)),
      gauge('guidon_process_resident_bytes', 'Memory of the process', this.#child?.residentBytes ?? 0),
      gauge('guidon_process_starts_total', 'How often the process was started', this.#startCount, 'counter'),
    ]);
  }

  get #isListening(): boolean {
    return this.#child?.state === 'listening';
  }

  async #details(): Promise<string[]> {
    await this.#child?.refresh();
    if (this.#child === undefined) return [`${this.#options.name} between two starts`];
    const { pid, state, details } = this.#child;
    return [`${this.#options.name} pid ${pid} ${state}`, ...details];
  }

  async #close(): Promise<void> {
    this.#health?.startDraining();
    clearTimeout(this.#restart);
    this.#child?.send({ type: 'drain' });
    if (!(await settlesWithin(this.#gone(), DRAIN_MS_MAX))) {
      this.#child?.kill();
      await this.#gone();
    }
    clearInterval(this.#heartbeat);
    await this.#health?.close();
  }

  async #gone(): Promise<void> {
    while (this.#child !== undefined) await new Promise((wake) => setTimeout(wake, 10));
  }
}
