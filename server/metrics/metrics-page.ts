import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CompilePool } from '@guidon/pool';
import { type EventLoopDelay, type MetricFamily, renderFamilies } from '@guidon/protocol/metrics';
import { Counter, Gauge } from 'prom-client';
import type { EventPipeline } from '../events/event-pipeline.js';
import type { PooledEvaluation } from '../pooled-evaluation.js';
import type { ConnectionGate } from '../quota/connection-gate.js';
import type { QuotaLedger } from '../quota/quota-ledger.js';
import type { Router } from '../route.js';
import type { RouteCounters } from '../route-counters.js';
import type { EnvironmentSet } from '../snapshot-feed/environment-set.js';
import type { SnapshotFeed } from '../snapshot-feed/snapshot-feed.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';
import type { StreamHub } from '../stream/stream-hub.js';
import { EnvironmentSurvey } from './environment-survey.js';
import { OTHER } from './labelled-environments.js';

export interface MetricsParts {
  readonly router: Router;
  readonly feed: SnapshotFeed;
  readonly environments: EnvironmentSet;
  readonly store: SnapshotStore;
  readonly kernel: SnapshotKernel;
  readonly residency: SnapshotResidency;
  readonly pool: CompilePool;
  readonly evaluation: PooledEvaluation;
  readonly ledger: QuotaLedger;
  readonly gate: ConnectionGate;
  readonly streams: StreamHub;
  readonly events: EventPipeline;
  readonly eventLoopDelay: EventLoopDelay;
  readonly version: string;
}

/** A family with so many samples, one for each labelled environment, is a turn's work. */
const SAMPLES_PER_TURN = 50;

/**
 * The Prometheus page. Requests bump plain numbers; this turns them into series when somebody asks, so the hot path knows nothing of
 * Prometheus. Labels are bounded: routes, statuses and environments, never flags or users.
 */
export class MetricsPage {
  readonly #metrics: (Counter | Gauge)[] = [];
  /** How one family of several processes becomes one, where it is not their sum. */
  readonly #joins = new Map<string, MetricFamily['join']>();
  readonly #parts: MetricsParts;
  readonly #survey: EnvironmentSurvey;

  constructor(parts: MetricsParts) {
    this.#parts = parts;
    this.#survey = new EnvironmentSurvey(parts);
    this.#gauge(
      'guidon_build_info',
      'Always 1',
      ['version', 'node'],
      (gauge) => gauge.set({ version: parts.version, node: process.version }, 1),
      'max',
    );
    this.#requests(parts);
    this.#quotas(parts);
    this.#streams(parts);
    this.#events(parts);
    this.#environments();
    this.#residency(parts);
    this.#evaluation(parts);
    this.#node(parts);
  }

  async render(): Promise<string> {
    return renderFamilies(await this.families());
  }

  /** For whoever joins them with those of other processes. */
  async families(): Promise<MetricFamily[]> {
    await this.#survey.take();
    const families: MetricFamily[] = [];
    for (const metric of this.#metrics) {
      const { name, help, values, type } = await metric.get();
      const samples = values.map(({ labels, value }) => ({ name, labels: textsOf(labels), value }));
      const join = this.#joins.get(name) ?? 'sum';
      families.push({ name, help, type: String(type) === 'counter' ? 'counter' : 'gauge', join, samples });
      if (samples.length >= SAMPLES_PER_TURN) await nextTurn();
    }
    return [
      ...families,
      durationsOf(this.#parts.router.counters),
      this.#parts.kernel.durations.family(
        'guidon_evaluation_duration_seconds',
        'Of calls into the kernel on the serving thread, over a sample of them',
      ),
      this.#parts.feed.propagation.family(
        'guidon_propagation_delay_seconds',
        'From the signing of a revision to its serving here, by the clocks of both',
      ),
      this.#parts.eventLoopDelay.family(),
    ];
  }

  #requests({ router }: MetricsParts): void {
    this.#counter('guidon_http_requests_total', 'Requests answered', ['route', 'status'], (counter) => {
      for (const { path, statuses } of router.counters) {
        for (const [status, value] of statuses) counter.inc({ route: path, status }, value);
      }
    });
    this.#counter('guidon_http_aborted_total', 'Requests whose client left first', ['route'], (counter) => {
      for (const { path, aborted } of router.counters) counter.inc({ route: path }, aborted);
    });
    this.#counter(
      'guidon_http_pipelined_closed_total',
      'Closed: pipelined behind a late answer',
      ['route'],
      (counter) => {
        for (const { path, pipelined } of router.counters) counter.inc({ route: path }, pipelined);
      },
    );
    this.#counter('guidon_http_timeout_total', 'Answered 503 after the response deadline', ['route'], (counter) => {
      for (const { path, timeouts } of router.counters) counter.inc({ route: path }, timeouts);
    });
    this.#gauge('guidon_http_pending', 'Requests that answer later', [], (gauge) => gauge.set(router.pendingCount));
  }

  #quotas({ ledger, gate, router }: MetricsParts): void {
    this.#counter('guidon_quota_refusals_total', 'Requests over a quota', ['quota'], (counter) => {
      for (const [quota, value] of Object.entries(ledger.refusals)) counter.inc({ quota }, value);
    });
    this.#gauge('guidon_connections', 'Open connections', [], (gauge) => gauge.set(gate.openCount));
    this.#counter('guidon_connections_refused_total', 'Closed as they opened: too many', [], (counter) => {
      counter.inc(gate.refusedCount);
    });
    this.#gauge('guidon_held_answer_bytes', 'Of answers that their clients have not taken', [], (gauge) => {
      gauge.set(ledger.heldBytes);
    });
    this.#counter('guidon_held_answers_dropped_total', 'Connections ended over unread answers', [], (counter) => {
      counter.inc(router.held.droppedCount);
    });
  }

  #streams({ streams }: MetricsParts): void {
    this.#gauge('guidon_stream_connections', 'Open streams', ['transport'], (gauge) => {
      for (const transport of ['websocket', 'sse', 'refetch'] as const)
        gauge.set({ transport }, streams.countOf(transport));
    });
    this.#counter('guidon_streams_opened_total', 'Streams that were opened', ['transport'], (counter) => {
      for (const [transport, count] of Object.entries(streams.counters.opened)) counter.inc({ transport }, count);
    });
    this.#counter('guidon_streams_closed_total', 'Streams that ended: close code, or left', ['why'], (counter) => {
      for (const [why, count] of streams.counters.closed) counter.inc({ why }, count);
    });
    this.#counter('guidon_stream_connects_refused_total', 'Too many at once', [], (counter) => {
      counter.inc(streams.counters.refusedConnects);
    });
    this.#counter('guidon_stream_messages_total', 'Frames with config or values', [], (counter) => {
      counter.inc(streams.counters.frames);
    });
    this.#gauge('guidon_stream_waiting', 'Streams that wait for a frame', [], (gauge) =>
      gauge.set(streams.waitingCount),
    );
  }

  #events({ events: { spool, shipper } }: MetricsParts): void {
    this.#counter('guidon_events_total', 'Events and summaries by what became of them', ['outcome'], (counter) => {
      counter.inc({ outcome: 'spooled' }, spool.counters.accepted);
      counter.inc({ outcome: 'shipped' }, shipper.counters.shipped);
      counter.inc({ outcome: 'dropped' }, spool.counters.dropped);
      counter.inc({ outcome: 'refused' }, shipper.counters.refused);
    });
    this.#counter('guidon_event_failures_total', 'Tries that did not work', ['what'], (counter) => {
      counter.inc({ what: 'spool' }, spool.counters.failedWrites);
      counter.inc({ what: 'ship' }, shipper.counters.failures);
    });
  }

  #environments(): void {
    this.#counter('guidon_evaluations_total', 'Results given', ['environment'], (counter) => {
      const { labelled, otherEvaluations } = this.#survey.figures;
      for (const { environmentId, evaluations } of labelled) counter.inc({ environment: environmentId }, evaluations);
      counter.inc({ environment: OTHER }, otherEvaluations);
    });
    this.#gauge(
      'guidon_snapshot_revision',
      'Revision that serves, in every process of this node',
      ['environment'],
      (gauge) => {
        for (const { environmentId, revision } of this.#survey.figures.labelled) {
          gauge.set({ environment: environmentId }, revision);
        }
      },
      'min',
    );
    this.#gauge(
      'guidon_snapshot_age_seconds',
      'Since it was last confirmed as the newest',
      ['environment'],
      (gauge) => {
        const { labelled, otherAgeSeconds } = this.#survey.figures;
        for (const { environmentId, ageSeconds } of labelled) gauge.set({ environment: environmentId }, ageSeconds);
        gauge.set({ environment: OTHER }, otherAgeSeconds);
      },
      'max',
    );
    this.#counter('guidon_snapshot_outcomes_total', 'What became of revisions', ['outcome'], (counter) => {
      for (const [outcome, count] of this.#survey.figures.outcomes) counter.inc({ outcome }, count);
    });
    this.#gauge(
      'guidon_quarantined_revisions',
      'Revisions that failed a check',
      ['environment'],
      (gauge) => {
        const { labelled, otherQuarantined } = this.#survey.figures;
        for (const { environmentId, quarantined } of labelled) gauge.set({ environment: environmentId }, quarantined);
        gauge.set({ environment: OTHER }, otherQuarantined);
      },
      'max',
    );
    this.#counter('guidon_evaluations_lost_total', 'Counted by threads that ended in a call', [], (counter) => {
      counter.inc(this.#parts.kernel.lostUsage);
    });
  }

  #residency({ kernel, residency }: MetricsParts): void {
    this.#gauge('guidon_resident_environments', 'Environments in kernel memory', [], (gauge) => {
      gauge.set(residency.residentCount);
    });
    this.#gauge('guidon_resident_snapshot_bytes', 'Kernel memory that snapshots take', [], (gauge) => {
      gauge.set(kernel.snapshotBytes());
    });
    this.#gauge('guidon_residency_waiting', 'Requests that wait for their environment to be loaded', [], (gauge) => {
      gauge.set(residency.waitingCount);
    });
    this.#counter('guidon_snapshot_evictions_total', 'Environments that left kernel memory', [], (counter) => {
      counter.inc(residency.counters.evictions);
    });
    this.#counter('guidon_snapshot_reloads_total', 'Loads that requests waited for', ['outcome'], (counter) => {
      counter.inc({ outcome: 'loaded' }, residency.counters.reloads);
      counter.inc({ outcome: 'failed' }, residency.counters.failedReloads);
    });
    this.#counter('guidon_residency_refused_total', 'Requests for which too many waited already', [], (counter) => {
      counter.inc(residency.counters.refusedWaits);
    });
  }

  #evaluation({ evaluation }: MetricsParts): void {
    const { pool, counters } = evaluation;
    this.#counter('guidon_evaluate_requests_total', 'Evaluate requests by who evaluated', ['where'], (counter) => {
      counter.inc({ where: 'inline' }, counters.inline);
      counter.inc({ where: 'pool' }, counters.pooled);
    });
    this.#gauge('guidon_evaluation_queue', 'Requests that wait for an evaluation worker', [], (gauge) => {
      gauge.set(pool.queueCount);
    });
    this.#gauge('guidon_evaluation_running', 'Requests in evaluation workers', [], (gauge) => {
      gauge.set(pool.runningCount);
    });
    this.#counter(
      'guidon_evaluation_wait_seconds_total',
      'Waited for an evaluation worker, all together',
      [],
      (counter) => {
        counter.inc(pool.counters.waitedMs / 1000);
      },
    );
    this.#counter('guidon_evaluation_refused_total', 'Refused because too many waited', [], (counter) => {
      counter.inc(pool.counters.refused);
    });
    this.#counter(
      'guidon_evaluation_workers_discarded_total',
      'Evaluation workers ended and replaced',
      [],
      (counter) => {
        counter.inc(pool.counters.discarded);
      },
    );
  }

  #node({ feed, store, kernel, pool }: MetricsParts): void {
    this.#counter('guidon_polls_total', 'Digest polls', ['outcome'], (counter) => {
      counter.inc({ outcome: 'ok' }, feed.counters.polls - feed.counters.failedPolls);
      counter.inc({ outcome: 'failed' }, feed.counters.failedPolls);
    });
    this.#counter('guidon_bus_messages_total', 'Messages from the change bus', ['outcome'], (counter) => {
      counter.inc({ outcome: 'taken' }, feed.counters.busMessages - feed.counters.busRefused);
      counter.inc({ outcome: 'refused' }, feed.counters.busRefused);
    });
    this.#gauge('guidon_witnessed_audit_logs', 'Audit logs whose newest head this node holds', [], (gauge) => {
      gauge.set(feed.witness.status.logCount);
    });
    this.#gauge(
      'guidon_inconsistent_audit_logs',
      'Audit logs that were changed since this node saw them',
      [],
      (gauge) => {
        gauge.set(feed.witness.status.inconsistentCount);
      },
    );
    this.#counter('guidon_kernel_traps_total', 'Kernels that threw and were replaced', [], (counter) => {
      counter.inc(kernel.trapCount);
    });
    this.#gauge('guidon_kernel_memory_bytes', 'Linear memory of the kernel', [], (gauge) =>
      gauge.set(kernel.memoryBytes()),
    );
    this.#gauge(
      'guidon_lmdb_map_used_bytes',
      'Pages in use of the node store',
      [],
      (gauge) => gauge.set(store.usage().usedBytes),
      'max',
    );
    this.#gauge(
      'guidon_store_healthy',
      '0 when the disk does not take writes',
      [],
      (gauge) => gauge.set(store.status === 'healthy' ? 1 : 0),
      'min',
    );
    this.#counter('guidon_compiled_definitions_total', 'Definitions compiled; unchanged ones are not', [], (counter) =>
      counter.inc(pool.compiledCount),
    );
    this.#gauge('guidon_compile_queue', 'Compiles that wait', [], (gauge) => gauge.set(pool.queueCount));
  }

  #counter<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    fill: (counter: Counter<Label>) => void,
  ): void {
    const metric = new Counter<Label>({
      name,
      help,
      labelNames,
      registers: [],
      collect() {
        this.reset();
        fill(this);
      },
    });
    this.#metrics.push(metric);
  }

  /** `join`: what the processes of one node make of it together. */
  #gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    fill: (gauge: Gauge<Label>) => void,
    join: MetricFamily['join'] = 'sum',
  ): void {
    this.#joins.set(name, join);
    const metric = new Gauge<Label>({
      name,
      help,
      labelNames,
      registers: [],
      collect() {
        this.reset();
        fill(this);
      },
    });
    this.#metrics.push(metric);
  }
}

/** A histogram from bucket counts, which prom-client cannot be handed. Over one request in sixteen (see route.ts). */
function durationsOf(counters: readonly RouteCounters[]): MetricFamily {
  const name = 'guidon_http_request_duration_seconds';
  const samples = counters.flatMap(({ path, durations }) => durations.samples(name, { route: path }));
  const help = 'From the headers to the answer, over a sample of requests';
  return { name, help, type: 'histogram', join: 'sum', samples };
}

function textsOf(labels: Readonly<Record<string, string | number | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}
