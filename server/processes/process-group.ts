import { createServer } from 'node:net';
import { PlatformError, settlesWithin } from '@guidon/protocol';
import { renderFamilies } from '@guidon/protocol/metrics';
import { readTlsFiles } from '@guidon/protocol/tls-files';
import type pino from 'pino';
import { HealthServer } from '../metrics/health-server.js';
import { prepareStoreDirectory, storeDirectoryOf } from '../snapshot-store/store-directory.js';
import { urlOf } from '../url-of.js';
import { ChildHandle } from './child-handle.js';
import { CrashLoop } from './crash-loop.js';
import { GroupMetrics } from './group-metrics.js';
import type { ChildMessage, NodeProcessOptions, SiblingMessage } from './messages.js';

export interface ProcessGroupOptions extends Omit<NodeProcessOptions, 'processIndex'> {
  readonly processCount: number;
  /** The module that runs NodeProcess. */
  readonly entry: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** On loopback, whatever `host` is. */
  readonly metricsPort: number;
  /** A child that does not answer for this long is ended and replaced (M7). */
  readonly hangMs?: number;
  readonly logger: pino.Logger;
  /** No child comes up any more; everything has been closed. */
  readonly onGiveUp?: (error: PlatformError) => void;
}

export interface RunningProcessGroup {
  readonly url: string;
  readonly port: number;
  readonly metricsUrl: string;
  /** Every child serves what the certificate files hold now; without TLS nothing happens. Rejects with what is wrong with them. */
  reloadCertificate(): Promise<void>;
  /** Not ready, no new connections, pending answers finish, every child ends. */
  close(): Promise<void>;
}

const METRICS_HOST = '127.0.0.1';
const HANG_MS = 10_000;
/** Heartbeats in the time after which a child counts as hung. */
const HEARTBEATS = 10;
const DRAIN_MS_MAX = 20_000;

interface Place {
  child: ChildHandle | undefined;
  startCount: number;
  restart: NodeJS.Timeout | undefined;
}

/**
 * A node of several processes that share one port: this one holds nothing but the health and metrics port, its children answer. One child
 * leads: it alone follows the control plane and writes the node's store, the others read it (docs/adr/0016).
 *
 * At most one child has ever been told to lead and is not gone: the next is told after the exit of the one before was seen. A process
 * outside of this group, such as a child of a parent that was killed, is kept out by the store's own fence (RowStore).
 */
export class ProcessGroup {
  readonly #options: ProcessGroupOptions;
  readonly #logger: pino.Logger;
  readonly #places: readonly Place[];
  readonly #metrics = new GroupMetrics();
  readonly #heartbeat: NodeJS.Timeout;
  #health: HealthServer | undefined;
  #leader: ChildHandle | undefined;
  /** A leader has opened the store: there is something to follow. */
  #hasStore = false;
  #isNodeReady = false;
  #port: number;
  readonly #crashes: CrashLoop;
  #closing: Promise<void> | undefined;
  #onSettled: (error: PlatformError | undefined) => void = () => undefined;

  /** Resolves when every child listens; rejects when they cannot. */
  static async start(options: ProcessGroupOptions): Promise<RunningProcessGroup> {
    const group = new ProcessGroup(options);
    try {
      const settled = new Promise<PlatformError | undefined>((resolve) => {
        group.#onSettled = resolve;
      });
      await group.#start();
      const failure = await settled;
      if (failure !== undefined) throw failure;
    } catch (error) {
      await group.#close();
      throw error;
    }
    group.#onSettled = (failure) => {
      if (failure !== undefined) void group.#close().then(() => options.onGiveUp?.(failure));
    };
    return {
      url: urlOf(options.host, group.#port, options.tls === undefined ? 'http' : 'https'),
      port: group.#port,
      metricsUrl: urlOf(METRICS_HOST, group.#health?.port ?? 0),
      reloadCertificate: () => group.#reloadCertificate(),
      close: () => group.#close(),
    };
  }

  private constructor(options: ProcessGroupOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#port = options.port;
    this.#crashes = new CrashLoop(options.processCount);
    this.#places = Array.from({ length: options.processCount }, () => ({
      child: undefined,
      startCount: 0,
      restart: undefined,
    }));
    this.#heartbeat = setInterval(() => this.#beat(), this.#heartbeatMs);
  }

  async #start(): Promise<void> {
    await this.#prepareStore();
    // uWS does not share a port that the system chose for one of them.
    if (this.#port === 0) this.#port = await findFreePort(this.#options.host);
    this.#health = await HealthServer.listen({
      host: METRICS_HOST,
      port: this.#options.metricsPort,
      metrics: { render: () => this.#renderMetrics() },
      logger: this.#logger,
      isLive: () => this.#children.some((child) => child.isResponsive(this.#hangMs)),
      isReady: () => this.#isReady,
      details: () => this.#details(),
    });
    for (const index of this.#places.keys()) this.#spawn(index);
  }

  get #hangMs(): number {
    return this.#options.hangMs ?? HANG_MS;
  }

  get #heartbeatMs(): number {
    return this.#hangMs / HEARTBEATS;
  }

  get #children(): ChildHandle[] {
    return this.#places.flatMap(({ child }) => (child === undefined ? [] : [child]));
  }

  /** Whoever listens gets connections: all of them must be able to answer. A child that is on its way gets none and says nothing. */
  get #isReady(): boolean {
    const listening = this.#children.filter(({ state }) => state === 'listening');
    return listening.length > 0 && listening.every(({ isReady }) => isReady);
  }

  /** Nobody has the store open now: damage is looked for and set aside (M5). */
  async #prepareStore(): Promise<void> {
    await prepareStoreDirectory(storeDirectoryOf(this.#options.dataDirectory), this.#logger);
  }

  #spawn(index: number): void {
    const place = this.#places[index];
    if (place === undefined || this.#closing !== undefined) return;
    place.restart = undefined;
    place.startCount += 1;
    place.child = new ChildHandle(this.#options.entry, this.#childOptions(index), {
      message: (child, message) => this.#hear(child, message),
      exit: (child, how) => this.#exited(child, how),
    });
  }

  /** What the child has to know, and no more: it goes through JSON. */
  #childOptions(processIndex: number): NodeProcessOptions {
    const { processCount: _count, entry: _entry, port: _port, metricsPort: _metricsPort, ...most } = this.#options;
    const { hangMs: _hangMs, logger: _logger, onGiveUp: _onGiveUp, ...options } = most;
    return { ...options, processIndex };
  }

  #hear(child: ChildHandle, message: ChildMessage): void {
    switch (message.type) {
      case 'booted':
        child.state = 'idle';
        this.#giveRoles();
        return;
      case 'leading':
        this.#hasStore = true;
        this.#logger.info({ process: child.index, pid: child.pid }, 'this process leads');
        this.#giveRoles();
        return;
      case 'prepared':
        child.state = 'prepared';
        child.send({ type: 'listen', port: this.#port });
        return;
      case 'listening':
        this.#listens(child);
        return;
      case 'ready':
        child.isReady = message.isReady;
        if (message.isReady) this.#nodeIsReady();
        return;
      case 'change':
      case 'confirmed':
        if (child === this.#leader) this.#tellOthers(child, message);
        return;
      case 'trap':
        this.#leader?.send(message);
        return;
    }
  }

  /** A leader first; the others once it has the store. */
  #giveRoles(): void {
    if (this.#closing !== undefined) return;
    if (this.#leader === undefined) this.#appointLeader();
    if (!this.#hasStore) return;
    for (const child of this.#children.filter(({ state }) => state === 'idle')) {
      child.state = 'starting';
      child.send({ type: 'follow' });
      if (this.#isNodeReady) child.send({ type: 'node-ready' });
    }
  }

  /** One that answers requests already and answered the last heartbeat, if there is one: it has everything, and is not stopped itself. */
  #appointLeader(): void {
    const order = ['idle', 'starting', 'prepared', 'listening'];
    const rankOf = (child: ChildHandle): number =>
      order.indexOf(child.state) + (child.isResponsive(this.#heartbeatMs) ? order.length : 0);
    const [next] = this.#children.filter(({ state }) => order.includes(state)).sort((a, b) => rankOf(b) - rankOf(a));
    if (next === undefined) return; // the next one that boots
    this.#leader = next;
    if (next.state === 'idle') next.state = 'starting';
    if (!next.send({ type: 'lead' })) next.kill();
  }

  #listens(child: ChildHandle): void {
    child.state = 'listening';
    child.listeningSinceMs = performance.now();
    if (this.#places.every(({ child: one }) => one?.state === 'listening')) this.#onSettled(undefined);
  }

  #nodeIsReady(): void {
    if (this.#isNodeReady) return;
    this.#isNodeReady = true;
    for (const child of this.#children) {
      if (child.state !== 'idle' && child.state !== 'booting') child.send({ type: 'node-ready' });
    }
  }

  #tellOthers(from: ChildHandle, message: SiblingMessage): void {
    for (const child of this.#children) if (child !== from) child.send(message);
  }

  #exited(child: ChildHandle, how: string): void {
    const place = this.#places[child.index];
    if (place === undefined || place.child !== child) return;
    this.#metrics.depart(child);
    place.child = undefined;
    const wasLeader = this.#leader === child;
    if (wasLeader) this.#leader = undefined;
    if (this.#closing !== undefined) return;
    const { failure, pid } = child;
    this.#logger.error(
      { process: child.index, pid, how, failure: failure?.message, wasLeader },
      'a process of this node ended; another is started',
    );
    // First who writes: that is what everybody waits for.
    this.#giveRoles();
    this.#leader?.send({ type: 'reader-gone' });
    const waitMs = this.#crashes.endedMs(child.index, child.listenedMs);
    if (this.#isHopeless(child)) this.#giveUp(child, how);
    else place.restart = setTimeout(() => void this.#restart(child.index), waitMs);
  }

  async #restart(index: number): Promise<void> {
    try {
      // Everybody is gone: perhaps because of what they all read.
      if (this.#children.length === 0) await this.#prepareStore();
    } catch (error) {
      this.#logger.error({ err: error }, 'the node store could not be looked at'); // the child will say more
    }
    this.#spawn(index);
  }

  #isHopeless({ failure }: ChildHandle): boolean {
    if (this.#children.some(({ state }) => state === 'listening')) return false;
    return this.#crashes.isHopeless(failure?.code === 'conflict');
  }

  #giveUp({ failure }: ChildHandle, how: string): void {
    const detail = `the processes of this node end as they start (${how})`;
    this.#onSettled(failure ?? new PlatformError('not-ready', detail));
  }

  #beat(): void {
    for (const child of this.#children) {
      if (!child.ping(this.#heartbeatMs, this.#hangMs)) continue;
      this.#logger.error({ process: child.index, pid: child.pid }, 'a process of this node hangs; it is ended');
      child.kill();
    }
  }

  /** Looked at here first, once: the children only have a log to say it in. */
  async #reloadCertificate(): Promise<void> {
    if (this.#options.tls === undefined) return;
    readTlsFiles(this.#options.tls);
    for (const child of this.#children) child.send({ type: 'reload-certificate' });
  }

  async #renderMetrics(): Promise<string> {
    await Promise.all(this.#children.map((child) => child.refresh()));
    return renderFamilies(this.#metrics.join(this.#places, this.#leader));
  }

  async #details(): Promise<string[]> {
    await Promise.all(this.#children.map((child) => child.refresh()));
    return this.#children.flatMap((child) => [
      `process ${child.index} pid ${child.pid} ${child.state}${child.isReady ? ' ready' : ''}${child === this.#leader ? ' leading' : ''}`,
      ...child.details.map((line) => `  ${line}`),
    ]);
  }

  #close(): Promise<void> {
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  async #closeNow(): Promise<void> {
    this.#health?.startDraining();
    for (const { restart } of this.#places) clearTimeout(restart);
    for (const child of this.#children) child.send({ type: 'drain' });
    if (!(await settlesWithin(this.#allGone(), DRAIN_MS_MAX))) {
      for (const child of this.#children) child.kill();
      await this.#allGone();
    }
    clearInterval(this.#heartbeat);
    await this.#health?.close();
  }

  async #allGone(): Promise<void> {
    while (this.#children.length > 0) await new Promise((wake) => setTimeout(wake, 10));
  }
}

function findFreePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen({ host, port: 0, exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
