import { randomBytes } from 'node:crypto';
import { PlatformError } from '@guidon/protocol';
import type pino from 'pino';
import type { ConfigSource, EnvironmentReport, NodeStatus } from './config-source.js';

/** Changes that come close together go in one report. */
const GATHER_MS = 20;
/** The control plane does not take this node's status, whatever is wrong there. */
const REFUSALS: ReadonlySet<string> = new Set(['invalid-credentials', 'not-found']);

export interface StatusReporterOptions {
  readonly source: ConfigSource;
  /** Undefined: it is not served any more. */
  readonly reportOf: (environmentId: string) => EnvironmentReport | undefined;
  /** Everything that is served. */
  readonly all: () => readonly EnvironmentReport[];
  /** What is said of the node itself, anew with each report. */
  readonly node: () => Pick<
    NodeStatus,
    'nodeId' | 'version' | 'isCanary' | 'store' | 'bus' | 'streams' | 'lagMs' | 'witness'
  >;
  readonly logger: pino.Logger;
}

/**
 * Tells the control plane what this node serves, as changes since the last report that it took: all at first, and all again when it has not
 * heard the one before, such as after its restart. One report under way at a time; what changes meanwhile goes in the next one.
 */
export class StatusReporter {
  readonly #options: StatusReporterOptions;
  readonly #session = randomBytes(8).toString('hex');
  /** Environments that changed since the last report that was taken. */
  #changed = new Set<string>();
  #isWholeDue = true;
  #isNodeDue = false;
  #sequence = 0;
  #isRefused = false;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: StatusReporterOptions) {
    this.#options = options;
  }

  get isDue(): boolean {
    return this.#isWholeDue || this.#isNodeDue || this.#changed.size > 0;
  }

  /** It serves another revision, or another one was refused, or it is gone. Reported soon. */
  changed(environmentId: string): void {
    this.#changed.add(environmentId);
    this.#soon();
  }

  /** How many streams it has changed, or what a canary has answered, perhaps many times a second: that goes with the next poll. */
  countsChanged(environmentId: string): void {
    this.#changed.add(environmentId);
  }

  /** Something of the node itself changed: it goes with the next poll. */
  nodeChanged(): void {
    this.#isNodeDue = true;
  }

  /** The control plane has forgotten this node: everything goes with this poll. */
  forgotten(): void {
    this.#isWholeDue = true;
  }

  /** With each poll that was answered: what is due and could not be sent. Never rejects. */
  async flush(): Promise<void> {
    await this.#running;
    if (this.isDue && !this.#isClosed) await this.#start();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #soon(): void {
    if (this.#isClosed || this.#timer !== undefined || this.#running !== undefined || this.#sequence === 0) return;
    this.#timer = setTimeout(() => void this.#start(), GATHER_MS);
  }

  #start(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running ??= this.#post().then((isTaken) => {
      this.#running = undefined;
      if (isTaken && this.#changed.size > 0) this.#soon();
    });
    return this.#running;
  }

  /** False: the next poll tries again. */
  async #post(): Promise<boolean> {
    const isWhole = this.#isWholeDue;
    const changed = this.#changed;
    this.#changed = new Set();
    this.#isWholeDue = false;
    this.#isNodeDue = false;
    this.#sequence += 1;
    try {
      const status = this.#status(isWhole, changed);
      if (await this.#options.source.postStatus(status)) {
        this.#isRefused = false;
        return true;
      }
      this.#isWholeDue = true;
      return isWhole ? false : await this.#post();
    } catch (error) {
      // What became of it is not known: the source says so when it has not heard it.
      this.#isWholeDue = isWhole;
      for (const environmentId of changed) this.#changed.add(environmentId);
      this.#isNodeDue = true;
      const isRefused = error instanceof PlatformError && REFUSALS.has(error.code);
      // Once: it is tried again with every poll.
      this.#options.logger[isRefused && !this.#isRefused ? 'warn' : 'debug'](
        { err: error },
        'the status could not be posted',
      );
      this.#isRefused ||= isRefused;
      return false;
    }
  }

  #status(isWhole: boolean, changed: ReadonlySet<string>): NodeStatus {
    const { all, reportOf, node } = this.#options;
    const reports = [...changed].map((environmentId) => [environmentId, reportOf(environmentId)] as const);
    return {
      ...node(),
      session: this.#session,
      sequence: this.#sequence,
      isWhole,
      environments: isWhole ? all() : reports.flatMap(([, report]) => (report === undefined ? [] : [report])),
      removed: isWhole ? [] : reports.flatMap(([id, report]) => (report === undefined ? [id] : [])),
    };
  }
}
