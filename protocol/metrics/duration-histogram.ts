import type { MetricFamily, MetricSample } from './metric-family.js';

/** Counts durations by upper bounds, as plain numbers: cheap enough for paths that are taken a hundred thousand times a second. */
export class DurationHistogram {
  readonly #boundsSeconds: readonly number[];
  readonly #counts: number[];
  #sumSeconds = 0;
  #count = 0;

  /** Rising. What is above the last is counted in the whole alone. */
  constructor(boundsSeconds: readonly number[]) {
    this.#boundsSeconds = boundsSeconds;
    this.#counts = boundsSeconds.map(() => 0);
  }

  get count(): number {
    return this.#count;
  }

  observe(seconds: number): void {
    this.#sumSeconds += seconds;
    this.#count += 1;
    const index = this.#boundsSeconds.findIndex((bound) => seconds <= bound);
    if (index >= 0) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  samples(name: string, labels: Readonly<Record<string, string>> = {}): MetricSample[] {
    let cumulative = 0;
    const buckets = this.#boundsSeconds.map((bound, index): MetricSample => {
      cumulative += this.#counts[index] ?? 0;
      return { name: `${name}_bucket`, labels: { ...labels, le: String(bound) }, value: cumulative };
    });
    return [
      ...buckets,
      { name: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: this.#count },
      { name: `${name}_sum`, labels, value: this.#sumSeconds },
      { name: `${name}_count`, labels, value: this.#count },
    ];
  }

  family(name: string, help: string): MetricFamily {
    return { name, help, type: 'histogram', join: 'sum', samples: this.samples(name) };
  }
}
