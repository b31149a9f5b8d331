import type { RevisionUsage } from '@guidon/engine';
import { EVENT_LIMITS } from '@guidon/protocol';
import { encodeEventMessage, type SummaryCount, UNNAMED_FLAG } from '@guidon/protocol/events';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import { EventIds } from './event-ids.js';
import type { EventSpool } from './event-spool.js';

export interface UsageSummariesOptions {
  readonly kernel: Pick<SnapshotKernel, 'sweepUsage' | 'evaluationsOf' | 'drainUsage'>;
  readonly spool: Pick<EventSpool, 'append'>;
  readonly slots: () => readonly Pick<EnvironmentSlot, 'environment'>[];
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Lines that are spooled together. */
interface Summaries {
  lines: string;
  count: number;
}

/** Characters: far below what the spool takes, for all environments together may be many times that. */
const LINES_CHARS_MAX = 256 * 1024;

/**
 * What the kernel has counted, as summaries in the spool: one drain at a time. While the disk takes none, those that were made wait, ids included,
 * and the kernel goes on counting; nothing of this is on the way of an evaluation.
 */
export class UsageSummaries {
  readonly #options: UsageSummariesOptions;
  readonly #ids = new EventIds();
  /** By environment: how many results had been summed up. */
  #seen = new Map<string, number>();
  #unkept: Summaries[] = [];
  #running: Promise<void> | undefined;
  #from: number;

  constructor(options: UsageSummariesOptions) {
    this.#options = options;
    this.#from = options.now();
  }

  /** Once a second. Never rejects. */
  collect(): Promise<void> {
    this.#running ??= this.#collect().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #collect(): Promise<void> {
    if (this.#unkept.length === 0) this.#unkept = this.#drain();
    try {
      for (let next = this.#unkept[0]; next !== undefined; next = this.#unkept[0]) {
        await this.#options.spool.append(next.lines, next.count);
        this.#unkept.shift();
      }
    } catch {
      // The spool has said why; the same summaries are tried again with the next call.
    }
  }

  #drain(): Summaries[] {
    const { kernel, slots, now } = this.#options;
    kernel.sweepUsage();
    const to = Math.max(now(), this.#from);
    const drained: Summaries[] = [];
    const before = this.#seen;
    // Of the environments there are: those that are gone are left out with it.
    this.#seen = new Map();
    for (const { environment } of slots()) {
      const evaluations = kernel.evaluationsOf(environment);
      this.#seen.set(environment.environmentId, evaluations);
      if (evaluations === (before.get(environment.environmentId) ?? 0)) continue;
      const counts = kernel.drainUsage(environment).flatMap(countsOf);
      for (let index = 0; index < counts.length; index += EVENT_LIMITS.countsPerSummary) {
        const part = counts.slice(index, index + EVENT_LIMITS.countsPerSummary);
        const event = { id: this.#ids.next(), kind: 'summary', from: this.#from, to, counts: part } as const;
        const line = `${encodeEventMessage({ environment, origin: 'node', receivedAt: to, events: [event] })}\n`;
        const last = drained.at(-1);
        if (last === undefined || last.lines.length + line.length > LINES_CHARS_MAX) {
          drained.push({ lines: line, count: 1 });
          continue;
        }
        last.lines += line;
        last.count += 1;
      }
    }
    this.#from = to;
    return drained;
  }
}

function countsOf({ revision, flags, unknown }: RevisionUsage): SummaryCount[] {
  const errors = (flag: string, counts: RevisionUsage['unknown']): SummaryCount[] =>
    Object.entries(counts).map(([errorCode, count]) => ({ flag, variation: null, errorCode, revision, count }));
  return [
    ...flags.flatMap(({ flag, variations, errors: own }) => [
      ...Object.entries(variations).map(([variation, count]) => ({ flag, variation, revision, count })),
      ...errors(flag, own),
    ]),
    ...errors(UNNAMED_FLAG, unknown),
  ];
}
