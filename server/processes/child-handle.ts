import { type ChildProcess, fork } from 'node:child_process';
import { ERROR_CODES, type ErrorCode, PlatformError } from '@guidon/protocol';
import type { MetricFamily } from '@guidon/protocol/metrics';
import type { ChildMessage, NodeProcessOptions, ParentMessage, ProcessReport } from './messages.js';

/** Messages that a child has not taken yet; it looks at the store itself once a second, so what is dropped above this arrives later. */
const UNSENT_COUNT_MAX = 256;
const REPORT_DEADLINE_MS = 1_000;
/** Of a child that has not said anything yet: loading the code on a busy machine, milliseconds. */
const BOOT_MS_MAX = 30_000;

/**
 * One child process as the parent sees it. States, in this order only:
 *
 *   booting --booted--> idle --lead or follow--> starting --prepared--> prepared --listening--> listening; any --exit--> gone
 */
export class ChildHandle<Options extends { readonly processIndex: number } = NodeProcessOptions> {
  readonly index: number;
  readonly pid: number;
  state: 'booting' | 'idle' | 'starting' | 'prepared' | 'listening' | 'gone' = 'booting';
  isReady = false;
  /** `performance.now()` when it began to listen. */
  listeningSinceMs: number | undefined;
  /** What it counted when it was asked last: what is left of it when it is gone. */
  families: readonly MetricFamily[] = [];
  residentBytes = 0;
  details: readonly string[] = [];
  /** Why it ended, in its own words. */
  failure: PlatformError | undefined;
  readonly #process: ChildProcess;
  readonly #reports = new Map<number, (report: ProcessReport | undefined) => void>();
  #unsentCount = 0;
  #unansweredMs = 0;
  #lastReportId = 0;

  constructor(
    entry: string,
    options: Options,
    on: {
      readonly message: (child: ChildHandle<Options>, message: ChildMessage) => void;
      readonly exit: (child: ChildHandle<Options>, how: string) => void;
    },
  ) {
    this.index = options.processIndex;
    this.#process = fork(entry, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.pid = this.#process.pid ?? 0;
    let hasExited = false;
    const exited = (how: string): void => {
      if (hasExited) return;
      hasExited = true;
      this.state = 'gone';
      for (const answer of this.#reports.values()) answer(undefined);
      on.exit(this, how);
    };
    this.#process.on('message', (message: ChildMessage) => {
      this.#unansweredMs = 0;
      if (message.type === 'report') this.#hearReport(message.reportId, message.report);
      else if (message.type === 'failed') this.failure = new PlatformError(codeOf(message.code), message.detail);
      else on.message(this, message);
    });
    this.#process.once('exit', (code, signal) => exited(signal ?? `status ${code}`));
    // Spawning, or ending, was refused by the system; a message that could not be sent ends here too, and the process lives.
    this.#process.on('error', (error) => {
      if (this.pid === 0) exited(error.message);
    });
    this.send({ type: 'start', options });
  }

  /** Undefined: it never did. */
  get listenedMs(): number | undefined {
    return this.listeningSinceMs === undefined ? undefined : performance.now() - this.listeningSinceMs;
  }

  get isGone(): boolean {
    return this.state === 'gone';
  }

  /** It has answered since the last ping but one. */
  isResponsive(intervalMs: number): boolean {
    return !this.isGone && this.#unansweredMs <= intervalMs;
  }

  /** False: not sent, the child takes no messages. */
  send(message: ParentMessage<Options>): boolean {
    if (this.isGone || !this.#process.connected || this.#unsentCount >= UNSENT_COUNT_MAX) return false;
    this.#unsentCount += 1;
    this.#process.send(message, () => {
      this.#unsentCount -= 1;
    });
    return true;
  }

  /** Called every `intervalMs`; true when it has not said anything for longer than `hangMs`, counted in calls: a parent that was stopped too says nothing of its children. */
  ping(intervalMs: number, hangMs: number): boolean {
    this.#unansweredMs += intervalMs;
    this.send({ type: 'ping' });
    return this.#unansweredMs > (this.state === 'booting' ? Math.max(hangMs, BOOT_MS_MAX) : hangMs);
  }

  kill(): void {
    if (!this.isGone) this.#process.kill('SIGKILL');
  }

  /** Refreshes `families`, `details` and `residentBytes`; after a second they stay what they were. */
  async refresh(): Promise<void> {
    this.#lastReportId += 1;
    const reportId = this.#lastReportId;
    let timer: NodeJS.Timeout | undefined;
    const report = await new Promise<ProcessReport | undefined>((resolve) => {
      this.#reports.set(reportId, resolve);
      timer = setTimeout(resolve, REPORT_DEADLINE_MS, undefined);
      if (!this.send({ type: 'report', reportId })) resolve(undefined);
    });
    clearTimeout(timer);
    this.#reports.delete(reportId);
    if (report !== undefined) this.#keep(report);
  }

  #hearReport(reportId: number, report: ProcessReport): void {
    const answer = this.#reports.get(reportId);
    // The last words of a child that ends were not asked for.
    if (answer === undefined) this.#keep(report);
    else answer(report);
  }

  #keep({ details, families, residentBytes }: ProcessReport): void {
    this.details = details;
    this.families = families;
    this.residentBytes = residentBytes;
  }
}

function codeOf(text: string): ErrorCode {
  const isCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code);
  return isCode(text) ? text : 'internal';
}
