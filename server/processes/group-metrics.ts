import { joinFamilies, type MetricFamily, type MetricSample } from '@guidon/protocol/metrics';
import type { ChildHandle } from './child-handle.js';

/** What the parent knows of one place in the group. */
export interface PlaceMetrics {
  readonly startCount: number;
  readonly child: ChildHandle | undefined;
}

/**
 * The metrics page of a node that has several processes. Counters of a process that is gone stay in the sums, or a sum would fall and
 * Prometheus would take it for a restart; what it counted after it was last asked is lost with it.
 */
export class GroupMetrics {
  #departed: readonly MetricFamily[] = [];

  /** A process is gone: what it counted is kept. */
  depart({ families }: ChildHandle): void {
    this.#departed = joinFamilies([this.#departed, families.filter(({ type }) => type !== 'gauge')]);
  }

  join(places: readonly PlaceMetrics[], leader: ChildHandle | undefined): MetricFamily[] {
    const children = places.flatMap(({ child }) => (child === undefined ? [] : [child]));
    const isListening = (child: ChildHandle | undefined): boolean => child?.state === 'listening';
    const perPlace = (
      name: string,
      help: string,
      countOf: (place: PlaceMetrics) => number,
      type: 'counter' | 'gauge' = 'gauge',
    ): MetricFamily => ({
      name,
      help,
      type,
      join: 'sum',
      samples: places.map(
        (place, index): MetricSample => ({ name, labels: { process: String(index) }, value: countOf(place) }),
      ),
    });
    return [
      ...joinFamilies([...children.map(({ families }) => families), this.#departed]),
      perPlace('guidon_process_listening', '1 while the process takes connections', ({ child }) =>
        Number(isListening(child)),
      ),
      perPlace(
        'guidon_process_leading',
        '1 for the process that follows the control plane and writes the store',
        ({ child }) => Number(child !== undefined && child === leader),
      ),
      perPlace('guidon_process_resident_bytes', 'Memory of the process', ({ child }) => child?.residentBytes ?? 0),
      perPlace('guidon_process_requests', 'Requests that the present process has answered', ({ child }) =>
        requestsOf(child),
      ),
      perPlace(
        'guidon_process_starts_total',
        'How often a process was started here',
        ({ startCount }) => startCount,
        'counter',
      ),
    ];
  }
}

function requestsOf(child: ChildHandle | undefined): number {
  const family = child?.families.find(({ name }) => name === 'guidon_http_requests_total');
  return family?.samples.reduce((sum, { value }) => sum + value, 0) ?? 0;
}
