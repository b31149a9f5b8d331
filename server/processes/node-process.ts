import { type BusSettings, type ChangeBus, PlatformError } from '@guidon/protocol';
import type { EventCarrier } from '@guidon/protocol/events';
import type pino from 'pino';
import { DataPlane } from '../data-plane.js';
import type { ChildMessage, NodeProcessOptions, ParentMessage, ProcessReport } from './messages.js';

/** How often it is looked whether readiness has changed. */
const READY_INTERVAL_MS = 50;
/** How long draining and closing may take together, milliseconds. */
const END_MS_MAX = 25_000;

/** What the command has of a process with a bus. A bus connects when it is first used: in a process that follows it never is. */
export interface BusParts {
  openBus(settings: BusSettings, logger: pino.Logger): Promise<ChangeBus>;
  openEvents(settings: BusSettings, logger: pino.Logger): Promise<EventCarrier>;
  /** When everything has closed, whether or not anything was opened. Never rejects. */
  beforeExit(): Promise<void>;
}

/**
 * One process of a node that has several: a DataPlane that does what the parent says. Without the parent it drains and ends: nobody would
 * replace it, and the parent's successor starts processes of its own.
 */
export class NodeProcess {
  readonly #createLogger: (level: string) => pino.Logger;
  readonly #busParts: BusParts;
  #options: NodeProcessOptions | undefined;
  #logger: pino.Logger | undefined;
  #plane: DataPlane | undefined;
  #bus: ChangeBus | undefined;
  #eventCarrier: EventCarrier | undefined;
  /** Roles are taken one after another: a process may be told to lead while it begins to follow. */
  #roles: Promise<void> = Promise.resolve();
  #isReady = false;
  #isEnding = false;

  /** Takes over this process: messages, signals and its end. `createLogger` and `busParts` are those of the command. */
  static run(createLogger: (level: string) => pino.Logger, busParts: BusParts): void {
    const node = new NodeProcess(createLogger, busParts);
    process.on('message', (message: ParentMessage) => node.#hear(message));
    process.on('disconnect', () => void node.#end());
    // The parent may have gone while this was being loaded: that was not heard.
    if (!process.connected) process.exit(0);
    // A terminal signals the whole group: the parent drains too, and what comes from it is the same.
    process.on('SIGINT', () => void node.#end());
    process.on('SIGTERM', () => void node.#end());
    process.on('SIGHUP', () => undefined); // likewise: the parent says what it means
    setInterval(() => node.#tellReady(), READY_INTERVAL_MS);
    send({ type: 'booted' });
  }

  private constructor(createLogger: (level: string) => pino.Logger, busParts: BusParts) {
    this.#createLogger = createLogger;
    this.#busParts = busParts;
  }

  #hear(message: ParentMessage): void {
    switch (message.type) {
      case 'start':
        this.#options = message.options;
        this.#logger = this.#createLogger(message.options.logLevel).child({ process: message.options.processIndex });
        return;
      case 'lead':
        this.#takeRole((plane) => this.#lead(plane));
        return;
      case 'follow':
        this.#takeRole((plane) => this.#follow(plane));
        return;
      case 'listen':
        this.#takeRole((plane) => this.#listen(plane, message.port));
        return;
      case 'ping':
        send({ type: 'pong' });
        return;
      case 'report':
        void this.#report(message.reportId);
        return;
      case 'reload-certificate':
        this.#reloadCertificate();
        return;
      case 'drain':
        void this.#end();
        return;
      default:
        this.#hearSibling(message);
    }
  }

  #hearSibling(
    message: Exclude<
      ParentMessage,
      { type: 'start' | 'lead' | 'follow' | 'listen' | 'ping' | 'report' | 'reload-certificate' | 'drain' }
    >,
  ): void {
    switch (message.type) {
      case 'change':
        this.#plane?.hearChange(message.change);
        return;
      case 'confirmed':
        this.#plane?.hearConfirmed(new Set(message.behind));
        return;
      case 'trap':
        this.#plane?.hearTrap(message.environmentId, message.revision);
        return;
      case 'reader-gone':
        this.#plane?.forgetDeadReaders();
        return;
      case 'node-ready':
        // Behind the role: whoever is told before it has a plane would not know it.
        this.#takeRole(async (plane) => plane?.hearNodeReady());
        return;
    }
  }

  #takeRole(task: (plane: DataPlane | undefined) => Promise<void>): void {
    this.#roles = this.#roles.then(() => task(this.#plane)).catch((error: unknown) => this.#fail(error));
  }

  async #lead(plane: DataPlane | undefined): Promise<void> {
    if (plane !== undefined) {
      await plane.lead();
      send({ type: 'leading' });
      return;
    }
    const opened = await this.#open('writer');
    send({ type: 'leading' });
    await opened.lead();
    send({ type: 'prepared' });
  }

  async #follow(plane: DataPlane | undefined): Promise<void> {
    await (plane ?? (await this.#open('reader'))).follow();
    send({ type: 'prepared' });
  }

  async #listen(plane: DataPlane | undefined, port: number): Promise<void> {
    if (plane === undefined || this.#options === undefined) throw new Error('a process listens after it has a role');
    await plane.listen(this.#options.host, port, true);
    send({ type: 'listening' });
  }

  async #open(role: 'writer' | 'reader'): Promise<DataPlane> {
    if (this.#options === undefined || this.#logger === undefined) throw new Error('a role comes after the options');
    const { bus: settings, ...options } = this.#options;
    const parts = {
      ...options,
      logger: this.#logger,
      ...(settings && (await this.#openBuses(settings, this.#logger))),
    };
    this.#plane = await DataPlane.open(parts, role, {
      onChange: (change) => send({ type: 'change', change }),
      onConfirmed: (behind) => send({ type: 'confirmed', behind: [...behind] }),
      onTrap: (environmentId, revision) => send({ type: 'trap', environmentId, revision }),
    });
    return this.#plane;
  }

  async #openBuses(
    settings: BusSettings,
    logger: pino.Logger,
  ): Promise<{ readonly bus: ChangeBus; readonly eventCarrier: EventCarrier }> {
    const bus = await this.#busParts.openBus(settings, logger);
    const eventCarrier = await this.#busParts.openEvents(settings, logger);
    this.#bus = bus;
    this.#eventCarrier = eventCarrier;
    return { bus, eventCarrier };
  }

  #reloadCertificate(): void {
    this.#plane
      ?.reloadCertificate()
      .catch((error: unknown) => this.#logger?.error({ err: error }, 'the certificate was not reloaded'));
  }

  #tellReady(): void {
    const isReady = this.#plane?.isReady ?? false;
    if (isReady === this.#isReady) return;
    this.#isReady = isReady;
    send({ type: 'ready', isReady });
  }

  async #report(reportId: number): Promise<void> {
    const report: ProcessReport = {
      details: this.#plane?.details() ?? [],
      families: (await this.#plane?.metrics.families()) ?? [],
      residentBytes: process.memoryUsage.rss(),
    };
    send({ type: 'report', reportId, report });
  }

  #fail(error: unknown): void {
    this.#logger?.error({ err: error }, 'a process of this node cannot go on');
    const code = error instanceof PlatformError ? error.code : 'internal';
    send({ type: 'failed', code, detail: error instanceof Error ? error.message : String(error) });
    // Let the message out; the store is read-only or fenced, nothing is lost.
    setTimeout(() => process.exit(1), 100);
  }

  /** Drains, says what it has counted last, and ends. */
  async #end(): Promise<void> {
    if (this.#isEnding) return;
    this.#isEnding = true;
    // Whatever hangs: without a parent nobody else would end it.
    setTimeout(() => process.exit(1), END_MS_MAX).unref();
    try {
      await this.#roles;
      await this.#plane?.drain();
      await this.#report(FINAL_REPORT);
      await this.#plane?.close();
      await this.#eventCarrier?.close();
      await this.#bus?.close();
      await this.#busParts.beforeExit();
      process.exit(0);
    } catch (error) {
      this.#logger?.error({ err: error }, 'the drain failed');
      process.exit(1);
    }
  }
}

/** No request has this number. */
const FINAL_REPORT = 0;

function send(message: ChildMessage): void {
  // Without the parent nobody hears it, and `disconnect` ends this process.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}
