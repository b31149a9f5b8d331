import { generatorOf, isWrkThere } from '../http/generators.js';
import { HTTP_ENVIRONMENTS, httpCases } from '../http/http-cases.js';
import type { HostileLoad, HostileReport } from '../neighbour/hostile-process.js';
import { startHostile } from '../neighbour/start-hostile.js';
import { isQuick } from '../support/arguments.js';
import { BenchNode } from '../support/bench-node.js';
import { encodeBody, httpRequest } from '../support/http-request.js';
import { type Latencies, OpenLoop } from '../support/open-loop.js';
import { median, rounded } from '../support/statistics.js';
import { workloadContexts } from '../workloads.js';

/**
 * What large batches cost those who ask for one flag: single evaluations of W2 on a fixed schedule, at a fifth of what the node answered at
 * most in this run, in turns without and with one batch of 10 000 evaluations (50 contexts x the 200 flags of W3) always in flight. Who
 * reads the batches is a process of its own: their 742 KB each would stop the clock that times the others. `--quick` is one short round.
 */
const LOAD_SHARE = 0.2;
const ROUND_COUNT = isQuick ? 1 : 5;
const ROUND_SECONDS = isQuick ? 2 : 5;
const MAXIMUM_SECONDS = isQuick ? 1 : 4;
const BATCH_CONTEXT_COUNT = 50;

const node = await BenchNode.start({ single: HTTP_ENVIRONMENTS.single, all: HTTP_ENVIRONMENTS.all });
try {
  const name = isWrkThere() ? 'wrk' : 'autocannon';
  const single = httpCases().find((one) => one.name === 'W2' && one.generator === name && one.connections === 64);
  if (single === undefined) throw new Error('bench:http measures W2');
  const token = node.tokenOf('single');
  const generate = generatorOf(single, token, node.folder);
  await generate(node.port, MAXIMUM_SECONDS);
  const { rps: maximum } = await generate(node.port, MAXIMUM_SECONDS);
  const requests = single.questions.map(({ body }) =>
    httpRequest(body, { path: '/v1/evaluate', format: 'msgpack', token }),
  );
  const ratePerSecond = Math.round(maximum * LOAD_SHARE);
  const load = await OpenLoop.open({ port: node.port, requests, ratePerSecond });

  const batchBody = {
    contexts: workloadContexts().slice(0, BATCH_CONTEXT_COUNT),
    flags: HTTP_ENVIRONMENTS.all.map(({ key }) => key),
  };
  const batch = httpRequest(encodeBody(batchBody, 'msgpack'), {
    path: '/v1/evaluate/batch',
    format: 'msgpack',
    token: node.tokenOf('all'),
  });
  const batches: HostileLoad = {
    port: node.port,
    requests: [batch.toString('base64')],
    connections: 1,
    slowSockets: 0,
  };

  await load.run(ROUND_SECONDS);
  const alone: Latencies[] = [];
  const mixed: Latencies[] = [];
  let finishedCount = 0;
  let failedCount = 0;
  for (let round = 0; round < ROUND_COUNT; round += 1) {
    alone.push(await load.run(ROUND_SECONDS));
    const asking = await startHostile(batches, node.folder);
    try {
      await load.run(1); // while it is new
      await asking.ask<HostileReport>();
      mixed.push(await load.run(ROUND_SECONDS));
      const { 200: finished = 0, ...failed } = await asking.ask<HostileReport>();
      finishedCount += finished;
      failedCount += Object.values(failed).reduce((sum, count) => sum + count, 0);
    } finally {
      await asking.stop();
    }
  }
  load.close();
  const of = (rounds: readonly Latencies[], member: keyof Latencies) => median(rounds.map((round) => round[member]));
  const p99AloneMs = of(alone, 'p99Ms');
  const p99MixedMs = of(mixed, 'p99Ms');
  const result = {
    ratePerSecond,
    p50AloneMs: of(alone, 'p50Ms'),
    p50MixedMs: of(mixed, 'p50Ms'),
    p99AloneMs,
    p99MixedMs,
    /** Wanted: at most this. */
    p99MixedMsMax: rounded(Math.max(2 * p99AloneMs, p99AloneMs + 2), 2),
    ratio: rounded(p99MixedMs / p99AloneMs, 2),
    batchesPerSecond: rounded(finishedCount / (ROUND_COUNT * ROUND_SECONDS), 1),
    batchFailures: failedCount,
    failures: [...alone, ...mixed].reduce((sum, { failures }) => sum + failures, 0),
  };
  console.table(result);
  console.log(JSON.stringify({ mixed: result }));
} finally {
  await node.stop();
}
