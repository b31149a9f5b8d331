import type { EnvironmentRef, SubjectTopic } from '@guidon/protocol';
import type { StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { traceparentNow } from '../tracing/in-span.js';

/**
 * What still has to be published for one environment and topic: everything after `from` up to `to`. One row however long the bus is
 * away: a backlog collapses to the newest state. `to` is a revision, or the sequence of the access list.
 */
export interface OutboxRow extends EnvironmentRef {
  readonly topic: SubjectTopic;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  /** Of the newest write in it, when that is traced: its trace goes on when the row is published. */
  readonly traceparent?: string;
}

/** Inside the transaction of the change (I1, I4). */
export function putOutboxRow(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  { topic, epoch, to }: { topic: SubjectTopic; epoch: number; to: number },
): void {
  const key = keys.outbox(topic, environment.environmentId);
  const waiting = transaction.find<OutboxRow>(key);
  const { tenantId, projectId, environmentId } = environment;
  const from = waiting?.epoch === epoch ? waiting.from : to - 1;
  const traceparent = traceparentNow();
  const row: OutboxRow = { tenantId, projectId, environmentId, topic, epoch, from, to };
  transaction.put(key, traceparent === undefined ? row : ({ ...row, traceparent } satisfies OutboxRow));
}
