import { setTimeout as sleep } from 'node:timers/promises';
import { isQuick } from '../support/arguments.js';
import { percentile, rounded } from '../support/statistics.js';
import { type BenchInstallation, flagKey } from './bench-installation.js';

const CHANGE_COUNT = isQuick ? 20 : 300;
/** Each waits for a poll, 4 to 6 s apart. */
const POLLED_CHANGE_COUNT = isQuick ? 2 : 12;
/** Changes at which the processes, which have just started, get their own code compiled: told by themselves. */
const WARM_UP_COUNT = isQuick ? 5 : 20;
const SERVED_MS_MAX = 30_000;

export interface NodePropagation {
  /** From the acknowledgement of the write, as its caller sees it, to the first evaluation with it on the node. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** From the request of the write: with validating, compiling and committing it. */
  readonly fromRequestP50Ms: number;
  readonly fromRequestP99Ms: number;
}

/** Commit to evaluated on a node, one change at a time over NATS. */
export async function measureNode(
  installation: BenchInstallation,
): Promise<NodePropagation & { readonly warmUpMaxMs: number }> {
  const { maxMs: warmUpMaxMs } = await measure(installation, WARM_UP_COUNT);
  return { ...(await measure(installation, CHANGE_COUNT)), warmUpMaxMs };
}

/** The same without NATS: the digest poll alone (I14). NATS stays down afterwards. */
export async function measureNatsDown(installation: BenchInstallation): Promise<NodePropagation> {
  await installation.stopNats();
  return measure(installation, POLLED_CHANGE_COUNT);
}

async function measure(installation: BenchInstallation, count: number): Promise<NodePropagation> {
  const afterAcknowledgement: number[] = [];
  const afterRequest: number[] = [];
  for (let index = 0; index < count; index += 1) {
    // Not in step with anything periodic.
    await sleep(20 + Math.random() * 30);
    const startedMs = performance.now();
    const change = installation.turn(flagKey(index % 10), Math.floor(index / 10) % 2 === 0);
    // Evaluations run all the while: what serves before the acknowledgement has arrived counts as 0.
    const served = untilServed(installation, change);
    const { acknowledgedAtMs } = await change;
    const servedAtMs = await served;
    afterAcknowledgement.push(Math.max(0, servedAtMs - acknowledgedAtMs));
    afterRequest.push(servedAtMs - startedMs);
  }
  const at = (values: readonly number[], share: number) => rounded(percentile(values, share), 2);
  return {
    p50Ms: at(afterAcknowledgement, 0.5),
    p99Ms: at(afterAcknowledgement, 0.99),
    maxMs: at(afterAcknowledgement, 1),
    fromRequestP50Ms: at(afterRequest, 0.5),
    fromRequestP99Ms: at(afterRequest, 0.99),
  };
}

/** Resolves with the time of the first answer with the revision of `change`. */
async function untilServed(installation: BenchInstallation, change: Promise<{ revision: number }>): Promise<number> {
  const answers: { atMs: number; revision: number }[] = [];
  let wanted: number | undefined;
  void change.then(
    ({ revision }) => {
      wanted = revision;
    },
    () => undefined,
  );
  const deadlineMs = performance.now() + SERVED_MS_MAX;
  while (performance.now() < deadlineMs) {
    const response = await fetch(`${installation.nodeUrl}/v1/evaluate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${installation.serverKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ flags: flagKey(0), context: { targetingKey: 'user' } }),
    });
    const { revision } = JSON.parse(await response.text());
    answers.push({ atMs: performance.now(), revision: Number(revision) });
    const revisionWanted = wanted;
    const first =
      revisionWanted === undefined ? undefined : answers.find((answer) => answer.revision >= revisionWanted);
    if (first !== undefined) return first.atMs;
    await sleep(1);
  }
  await change;
  throw new Error(`revision ${wanted} was not served within ${SERVED_MS_MAX} ms`);
}
