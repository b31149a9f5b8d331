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
  readonly slots: () => readonly EnvironmentSlot[];
  /** Epoch milliseconds. */
  readonly now: () => number;
}

interface Summaries {
  readonly lines: string;
  readonly count: number;
}

/**
 * What the kernel has counted, as summaries in the spool: one drain at a time. While the disk takes none, those that were made wait, ids included,
 * and the kernel goes on counting; nothing of this is on the way of an evaluation.
 */
export class UsageSummaries {
  readonly #options: UsageSummariesOptions;
  readonly #ids = new EventIds();
  /** By environment: how many results had been summed up. */
  readonly #seen = new Map<string, number>();
  #unkept: Summaries | undefined;
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
    const summaries = this.#unkept ?? this.#drain();
    if (summaries === undefined) return;
    this.#unkept = summaries;
    try {
      await this.#options.spool.append(summaries.lines, summaries.count);
      this.#unkept = undefined;
    } catch {
      // The spool has said why; the same summaries are tried again with the next call.
    }
  }

  #drain(): Summaries | undefined {
    const { kernel, slots, now } = this.#options;
    kernel.sweepUsage();
    const to = Math.max(now(), this.#from);
    const lines: string[] = [];
    for (const { environment } of slots()) {
      const evaluations = kernel.evaluationsOf(environment);
      if (evaluations === (this.#seen.get(environment.environmentId) ?? 0)) continue;
      this.#seen.set(environment.environmentId, evaluations);
      const counts = kernel.drainUsage(environment).flatMap(countsOf);
      for (let index = 0; index < counts.length; index += EVENT_LIMITS.countsPerSummary) {
        const part = counts.slice(index, index + EVENT_LIMITS.countsPerSummary);
        const event = { id: this.#ids.next(), kind: 'summary', from: this.#from, to, counts: part } as const;
        lines.push(encodeEventMessage({ environment, origin: 'node', receivedAt: to, events: [event] }));
      }
    }
    this.#from = to;
    return lines.length === 0 ? undefined : { lines: `${lines.join('\n')}\n`, count: lines.length };
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
