import { setImmediate } from 'node:timers/promises';
import type { CompilePool, ReplayStep } from '@guidon/pool';
import { Dependencies, type Dependency } from './dependencies.js';
import type { ReadContext } from './evaluate-input.js';
import type { PastDefinitions } from './past-definitions.js';

/** Revisions that one request evaluates. */
const STEPS_MAX = 1_000;
/** Steps that travel to the pool together, and about how many bytes. */
const BATCH_STEPS_MAX = 64;
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
/** Of the results in the answer, as JSON. */
const RESULT_BYTES_MAX = 1024 * 1024;

interface BisectedChange {
  readonly revision: number;
  readonly before: unknown;
  readonly after: unknown;
  readonly isValueChanged: boolean;
}

export interface Bisected {
  readonly first: unknown;
  readonly changes: readonly BisectedChange[];
  readonly evaluatedCount: number;
  readonly nextFrom: number | null;
}

/** Steps made and not yet evaluated. */
interface Batch {
  readonly revisions: number[];
  readonly steps: ReplayStep[];
  /** Hash by name of what the steps so far have put. */
  readonly put: Map<string, string>;
  bytes: number;
}

const newBatch = (): Batch => ({ revisions: [], steps: [], put: new Map(), bytes: 0 });

/**
 * Finds every revision at which a context's answer became another. An answer may change and change back, so halving would miss changes: it goes
 * from one change of what the flag depends on to the next, and evaluates there alone.
 */
export class Bisection {
  readonly #past: PastDefinitions;
  readonly #pool: CompilePool;
  readonly #context: ReadContext;
  readonly #flag: string;
  readonly #now: number;
  readonly #stepsMax: number;
  readonly #changes: BisectedChange[] = [];
  #first: unknown;
  #last: { readonly revision: number; readonly result: unknown; readonly text: string } | undefined;
  #evaluatedCount = 0;
  #resultBytes = 0;

  constructor(options: {
    past: PastDefinitions;
    pool: CompilePool;
    context: ReadContext;
    flag: string;
    /** One instant for all revisions. */
    now: number;
    /** Default STEPS_MAX. */
    stepsMax?: number;
  }) {
    this.#past = options.past;
    this.#pool = options.pool;
    this.#context = options.context;
    this.#flag = options.flag;
    this.#now = options.now;
    this.#stepsMax = options.stepsMax ?? STEPS_MAX;
  }

  /** Both are kept revisions, `from` not behind `to`. */
  async run(from: number, to: number): Promise<Bisected> {
    const dependencies = new Dependencies(this.#past, this.#context.targetingKeys);
    let batch = newBatch();
    let revision: number | undefined = from;
    let stepCount = 0;
    while (revision !== undefined && stepCount < this.#stepsMax && this.#resultBytes < RESULT_BYTES_MAX) {
      const looked: ReadonlyMap<string, Dependency> = await dependencies.at(revision, [this.#flag]);
      this.#addStep(batch, revision, looked);
      stepCount += 1;
      revision = nextChange(looked, to);
      if (batch.steps.length >= BATCH_STEPS_MAX || batch.bytes >= BATCH_BYTES_MAX) {
        await this.#evaluate(batch);
        batch = newBatch();
      } else await setImmediate();
    }
    if (batch.steps.length > 0) await this.#evaluate(batch);
    return {
      first: this.#first,
      changes: this.#changes,
      evaluatedCount: this.#evaluatedCount,
      nextFrom: revision === undefined ? null : (this.#last?.revision ?? from),
    };
  }

  /** What the step before left and nobody looks at any more may stay: it changes no answer. */
  #addStep(batch: Batch, revision: number, looked: ReadonlyMap<string, Dependency>): void {
    const changed: Uint8Array[] = [];
    const removed: (readonly [kind: string, key: string])[] = [];
    for (const [id, { kind, key, entry }] of looked) {
      if (entry?.hash === batch.put.get(id)) continue;
      if (entry === undefined) {
        removed.push([kind, key]);
        batch.put.delete(id);
        continue;
      }
      const bytes = this.#past.readBytes(entry, revision);
      changed.push(bytes);
      batch.bytes += bytes.length;
      batch.put.set(id, entry.hash);
    }
    batch.steps.push({ changed, removed });
    batch.revisions.push(revision);
  }

  async #evaluate({ revisions, steps }: Batch): Promise<void> {
    const { steps: text } = await this.#pool.replay({
      environment: this.#past.environment,
      context: this.#context.text,
      flags: [this.#flag],
      isExplained: false,
      now: this.#now,
      steps,
    });
    const answers = JSON.parse(text) as readonly (readonly unknown[])[];
    for (const [index, revision] of revisions.entries()) this.#note(revision, answers[index]?.[0]);
  }

  #note(revision: number, result: unknown): void {
    const text = JSON.stringify(result);
    const last = this.#last;
    this.#evaluatedCount += 1;
    this.#last = { revision, result, text };
    if (last === undefined) this.#first = result;
    if (last === undefined || last.text === text) return;
    this.#resultBytes += last.text.length + text.length;
    const isValueChanged = JSON.stringify(servedValue(last.result)) !== JSON.stringify(servedValue(result));
    this.#changes.push({ revision, before: last.result, after: result, isValueChanged });
  }
}

/** The next revision, up to `to`, at which something of it becomes another. */
function nextChange(looked: ReadonlyMap<string, Dependency>, to: number): number | undefined {
  let next: number | undefined;
  for (const { until } of looked.values()) {
    if (until !== undefined && until <= to && (next === undefined || until < next)) next = until;
  }
  return next;
}

function servedValue(result: unknown): unknown {
  return typeof result === 'object' && result !== null && 'value' in result ? result.value : null;
}
