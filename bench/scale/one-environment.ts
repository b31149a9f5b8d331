import { join } from 'node:path';
import { chunkSegmentKeys, type Definition, type FlagDefinition } from '@guidon/engine';
import { replayWithWrk } from '../http/generators.js';
import { isQuick } from '../support/arguments.js';
import { BenchNode } from '../support/bench-node.js';
import { encodeBody, type HttpRequestOptions, httpRequest } from '../support/http-request.js';
import { seededRandom } from '../support/random.js';
import { percentile, rounded } from '../support/statistics.js';
import { w1Flag, w3Flags, workloadContexts } from '../workloads.js';

export interface FlagsRow {
  readonly flags: number;
  readonly rps: number;
  /** Processor time of a request, the least of the rounds, microseconds. */
  readonly micros: number;
}

export interface SegmentRow {
  readonly segmentKeys: number;
  readonly evalsPerSecond: number;
  /** Processor time of one evaluation, its share of the HTTP request included; the least of the rounds, microseconds. */
  readonly micros: number;
}

const ROUND_COUNT = isQuick ? 1 : 5;
const WINDOW_SECONDS = isQuick ? 1 : 2;
const REQUEST_COUNT = 10_000;
const BATCH_CONTEXT_COUNT = 100;
const BATCH_COUNT = 200;
const SEED = 20_261_122;
const SEGMENT = 'many';

/** One of `flagCount` flags of kind W2 at a time, all of them in turn. */
export async function measureFlags(flagCount: number): Promise<FlagsRow> {
  const contexts = workloadContexts();
  const flags = w3Flags(flagCount);
  const bodies = Array.from({ length: REQUEST_COUNT }, (_, index) => ({
    // Neighbours in the list are far apart in memory.
    flags: flags[(index * 7_919) % flagCount]?.key,
    context: contexts[index % contexts.length],
  }));
  const { rps, micros } = await measure(flags, '/v1/evaluate', bodies);
  return { flags: flagCount, rps: Math.round(rps), micros: rounded(micros, 2) };
}

/** Whether a targeting key is among `keyCount`: 100 contexts a request, every other one a member, members in random order. */
export async function measureSegment(keyCount: number): Promise<SegmentRow> {
  const random = seededRandom(SEED);
  const bodies = Array.from({ length: BATCH_COUNT }, (_batch, batch) => ({
    flags: [memberFlag().key],
    contexts: Array.from({ length: BATCH_CONTEXT_COUNT }, (_context, index) => ({
      targetingKey: index % 2 === 0 ? `member-${Math.floor(random() * keyCount)}` : `stranger-${batch}-${index}`,
    })),
  }));
  const { rps, micros } = await measure(segmentDefinitions(keyCount), '/v1/evaluate/batch', bodies);
  return {
    segmentKeys: keyCount,
    evalsPerSecond: Math.round(rps * BATCH_CONTEXT_COUNT),
    micros: rounded(micros / BATCH_CONTEXT_COUNT),
  };
}

async function measure(
  definitions: readonly Definition[],
  path: HttpRequestOptions['path'],
  bodies: readonly object[],
): Promise<{ rps: number; micros: number }> {
  const node = await BenchNode.start({ one: definitions });
  try {
    const options = { path, format: 'msgpack', token: node.tokenOf('one') } as const;
    const requests = bodies.map((body) => httpRequest(encodeBody(body, 'msgpack'), options));
    const load = { name: 'scale', connections: 64, pipelining: 1 };
    const generate = replayWithWrk(requests, join(node.folder, 'requests'), load);
    await generate(node.port, WINDOW_SECONDS);
    const rates: number[] = [];
    const costs: number[] = [];
    for (let round = 0; round < ROUND_COUNT; round += 1) {
      const before = node.process.cpuSeconds();
      const { rps } = await generate(node.port, WINDOW_SECONDS);
      rates.push(rps);
      costs.push(((node.process.cpuSeconds() - before) / (rps * WINDOW_SECONDS)) * 1e6);
    }
    return { rps: percentile(rates, 0.5), micros: Math.min(...costs) };
  } finally {
    await node.stop();
  }
}

function memberFlag(): FlagDefinition {
  const rule = { id: 'members', when: { segment: [SEGMENT] }, serve: { variation: 'on' } };
  return { ...w1Flag(), rules: [rule], fallthrough: { variation: 'off' } };
}

function segmentDefinitions(keyCount: number): Definition[] {
  const keys = Array.from({ length: keyCount }, (_, index) => `member-${index}`);
  const chunks = chunkSegmentKeys({ segment: SEGMENT, list: 'included', contextKind: 'user' }, keys);
  if (!chunks.ok) throw new Error(`a segment of ${keyCount} keys is refused`);
  return [memberFlag(), { kind: 'segment', key: SEGMENT, rules: [], salt: 'salt-many', requires: [] }, ...chunks.value];
}
