import { DurationHistogram, type MetricFamily } from '@guidon/protocol/metrics';

const BOUNDS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5] as const;
/** Routes are a few hundred, and each has a few answers; what comes later is counted together, so that the page has a size. */
export const SERIES_MAX = 400;
const OTHER = 'other';
const NAME = 'guidon_http_request_duration_seconds';

/** How long answers took, by route, method and status. A route is a pattern, never a URL. */
export class RequestDurations {
  readonly #series = new Map<
    string,
    { readonly labels: Record<string, string>; readonly durations: DurationHistogram }
  >();

  observe(
    request: { readonly route: string; readonly method: string; readonly status: number },
    seconds: number,
  ): void {
    const { route, method, status } = request;
    const name = `${method} ${status} ${route}`;
    const known = this.#series.get(name) ?? this.#add(name, { route, method, status: String(status) });
    known.durations.observe(seconds);
  }

  family(): MetricFamily {
    const samples = [...this.#series.values()].flatMap(({ labels, durations }) => durations.samples(NAME, labels));
    return { name: NAME, help: 'From the headers to the answer', type: 'histogram', join: 'sum', samples };
  }

  #add(name: string, labels: Record<string, string>) {
    const isFull = this.#series.size >= SERIES_MAX;
    const key = isFull ? OTHER : name;
    const added = this.#series.get(key) ?? {
      labels: isFull ? { route: OTHER, method: OTHER, status: OTHER } : labels,
      durations: new DurationHistogram(BOUNDS_SECONDS),
    };
    this.#series.set(key, added);
    return added;
  }
}
