import { setImmediate as nextTurn } from 'node:timers/promises';
import type { EnvironmentSet } from '../snapshot-feed/environment-set.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import { LabelledEnvironments } from './labelled-environments.js';

/** What the page says of environments: those that have labels one by one, all others together. */
export interface EnvironmentFigures {
  readonly labelled: readonly LabelledFigures[];
  /** Results given by environments without a label, and by those that are gone. */
  readonly otherEvaluations: number;
  /** Of the one among the others that was confirmed longest ago. */
  readonly otherAgeSeconds: number;
  readonly otherQuarantined: number;
  /** What became of revisions, all environments together. */
  readonly outcomes: ReadonlyMap<string, number>;
}

export interface LabelledFigures {
  readonly environmentId: string;
  readonly evaluations: number;
  readonly revision: number;
  readonly ageSeconds: number;
  readonly quarantined: number;
}

const NOTHING: EnvironmentFigures = {
  labelled: [],
  otherEvaluations: 0,
  otherAgeSeconds: 0,
  otherQuarantined: 0,
  outcomes: new Map(),
};
/** Environments that are looked at before requests have their turn again: some 0.2 ms. */
const SLICE_COUNT = 500;

/**
 * Looks through the environments of a node, which may be 10 000, without holding up its requests for longer than a slice of them takes. What
 * changes meanwhile is seen before or after.
 */
export class EnvironmentSurvey {
  /** Of the last one. */
  figures = NOTHING;
  readonly #environments: EnvironmentSet;
  readonly #kernel: SnapshotKernel;
  readonly #labelled = new LabelledEnvironments();
  #running: Promise<void> | undefined;

  constructor({ environments, kernel }: { readonly environments: EnvironmentSet; readonly kernel: SnapshotKernel }) {
    this.#environments = environments;
    this.#kernel = kernel;
  }

  /** Brings `figures` up to date. One at a time: whoever asks meanwhile is given the one that runs. */
  take(): Promise<void> {
    this.#running ??= this.#take().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #take(): Promise<void> {
    const { entries } = this.#environments;
    this.#kernel.sweepUsage();
    this.#labelled.begin();
    for await (const slice of slicesOf(entries)) {
      for (const { environment } of slice) {
        this.#labelled.add(environment.environmentId, this.#kernel.evaluationsOf(environment));
      }
    }
    const { labelled, otherCount } = this.#labelled.end();
    const evaluationsOf = new Map(labelled.map(({ environmentId, count }) => [environmentId, count]));
    const figures: LabelledFigures[] = [];
    const outcomes = new Map<string, number>();
    let otherAgeSeconds = 0;
    let otherQuarantined = 0;
    for await (const slice of slicesOf(entries)) {
      for (const { environment, slot, reducer } of slice) {
        for (const [outcome, count] of Object.entries(reducer.counters)) {
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + count);
        }
        const { environmentId } = environment;
        const evaluations = evaluationsOf.get(environmentId);
        const ageSeconds = (performance.now() - slot.confirmedAtMs) / 1000;
        const quarantined = reducer.quarantine.length;
        if (evaluations !== undefined) {
          figures.push({ environmentId, evaluations, revision: slot.serving?.revision ?? 0, ageSeconds, quarantined });
        } else {
          otherAgeSeconds = Math.max(otherAgeSeconds, ageSeconds);
          otherQuarantined += quarantined;
        }
      }
    }
    this.figures = { labelled: figures, otherEvaluations: otherCount, otherAgeSeconds, otherQuarantined, outcomes };
  }
}

async function* slicesOf<Item>(items: readonly Item[]): AsyncGenerator<readonly Item[]> {
  for (let from = 0; from < items.length; from += SLICE_COUNT) {
    if (from > 0) await nextTurn();
    yield items.slice(from, from + SLICE_COUNT);
  }
}
