import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { type MetricFamily, valuesFamily } from './metric-family.js';

/** How late a timer is told to look: what it measures is above this. */
const RESOLUTION_MS = 20;
const NAME = 'guidon_event_loop_delay_seconds';
const QUANTILES = [0.5, 0.99] as const;

/** How long the thread that answers was busy with something else, since it was last asked. */
export class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  family(): MetricFamily {
    const histogram = this.#histogram;
    const secondsOf = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1_000);
    const samples = QUANTILES.map(
      (quantile) => [String(quantile), secondsOf(histogram.percentile(quantile * 100))] as const,
    );
    const values = histogram.count === 0 ? [] : [...samples, ['1', secondsOf(histogram.max)] as const];
    histogram.reset();
    const help = 'Busy with something else since the page was asked for last';
    return valuesFamily(NAME, help, { type: 'gauge', join: 'max', label: 'quantile', values });
  }

  close(): void {
    this.#histogram.disable();
  }
}
