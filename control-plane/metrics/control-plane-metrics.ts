import { EventLoopDelay, type MetricFamily, valuesFamily } from '@guidon/protocol/metrics';
import type { EventIntake } from '../events/event-intake.js';
import type { FeedWaiters } from '../feed/feed-waiters.js';
import type { NodeDirectory } from '../nodes/node-directory.js';
import type { OutboxPublisher } from '../publish/outbox-publisher.js';
import type { ControlStore } from '../store/control-store.js';
import type { RequestDurations } from './request-durations.js';

export interface ControlPlaneMetricsParts {
  readonly store: ControlStore;
  readonly publisher: OutboxPublisher;
  readonly feedWaiters: FeedWaiters;
  readonly nodes: NodeDirectory;
  readonly durations: RequestDurations;
  /** Attempts of webhooks, by outcome. */
  readonly webhookOutcomes: () => ReadonlyMap<string, number>;
  /** Endpoints that the dispatcher has something in memory of. */
  readonly webhookCount: () => number;
  /** Events that nodes sent, by what became of them. */
  readonly events: EventIntake;
  readonly version: string;
}

/** What the metrics page of a control plane says. Labels are bounded: routes, outcomes and statuses, never tenants, flags or people. */
export class ControlPlaneMetrics {
  readonly #parts: ControlPlaneMetricsParts;
  readonly #eventLoopDelay = new EventLoopDelay();

  constructor(parts: ControlPlaneMetricsParts) {
    this.#parts = parts;
  }

  families(): MetricFamily[] {
    const { store, publisher, feedWaiters, nodes, durations, webhookOutcomes, webhookCount, events, version } =
      this.#parts;
    const { liveCount, knownCount } = nodes.counts();
    return [
      {
        name: 'guidon_build_info',
        help: 'Always 1',
        type: 'gauge',
        join: 'max',
        samples: [{ name: 'guidon_build_info', labels: { version, node: process.version }, value: 1 }],
      },
      gauge('guidon_store_writable', '1 while writes are accepted', Number(store.findObstacle() === undefined)),
      gauge('guidon_store_free_bytes', "Free space of the store's file system", store.freeBytes()),
      gauge('guidon_lmdb_map_used_bytes', 'Pages in use of the store', store.usedBytes()),
      gauge('guidon_outbox_waiting', 'Environments with something that is not published yet', publisher.backlog.count),
      gauge('guidon_outbox_oldest_seconds', 'How long the first of them has waited', publisher.backlog.oldestSeconds),
      gauge('guidon_feed_readers', 'Requests that wait for a feed or stream it', feedWaiters.count),
      gauge('guidon_webhook_endpoints', 'Endpoints that are looked after', webhookCount()),
      valuesFamily('guidon_nodes', 'Nodes by whether they were heard of within 15 s', {
        type: 'gauge',
        label: 'state',
        values: [
          ['live', liveCount],
          ['silent', knownCount - liveCount],
        ],
      }),
      valuesFamily('guidon_webhook_deliveries_total', 'Attempts of webhooks by outcome', {
        type: 'counter',
        label: 'outcome',
        values: webhookOutcomes(),
      }),
      valuesFamily('guidon_received_events_total', 'Events of nodes by what became of them', {
        type: 'counter',
        label: 'outcome',
        values: Object.entries(events.counters),
      }),
      durations.family(),
      this.#eventLoopDelay.family(),
    ];
  }

  close(): void {
    this.#eventLoopDelay.close();
  }
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: 'gauge', join: 'min', samples: [{ name, labels: {}, value }] };
}
