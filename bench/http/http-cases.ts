import { encode } from '@msgpack/msgpack';
import { W1_FLAG, W2_FLAG, type WorkloadContext, w3Flags, workloadContexts } from '../workloads.js';

/** One way of asking: path, bodies to take in turn, and how many flags one answer evaluates. */
export interface HttpCase {
  readonly name: string;
  readonly path: '/v1/evaluate' | '/v1/evaluate/batch';
  readonly contentType: 'application/msgpack' | 'application/json';
  readonly bodies: readonly Buffer[];
  readonly evaluationsPerRequest: number;
  readonly connections: number;
  readonly pipelining: number;
}

/** Bodies that the generator takes in turn; more would only fill its memory. */
const BODY_COUNT = 1_000;
const BATCH_SIDE = 10;

/** Single evaluations without and with pipelining, as msgpack and as JSON, all flags at once, and contexts x flags. */
export function httpCases(): HttpCase[] {
  const contexts = workloadContexts().slice(0, BODY_COUNT);
  const single = (flag: string) => contexts.map((context) => ({ flags: flag, context }));
  const keys = w3Flags().map(({ key }) => key);
  const groups = Array.from({ length: BODY_COUNT / BATCH_SIDE }, (_, index) =>
    contexts.slice(index * BATCH_SIDE, (index + 1) * BATCH_SIDE),
  );
  const inTurns = { connections: 64, pipelining: 1 };
  const pipelined = { connections: 64, pipelining: 10 };
  return [
    { ...msgpack('evaluate/msgpack', single(W1_FLAG)), ...inTurns },
    { ...msgpack('evaluate/msgpack', single(W1_FLAG)), ...pipelined },
    { ...msgpack('evaluate/msgpack W2', single(W2_FLAG)), ...inTurns },
    { ...msgpack('evaluate/msgpack W2', single(W2_FLAG)), ...pipelined },
    { ...json('evaluate/json W2', single(W2_FLAG)), ...pipelined },
    {
      ...msgpack(
        'evaluate/msgpack W3',
        contexts.map((context) => ({ flags: keys, context })),
      ),
      evaluationsPerRequest: keys.length,
      ...inTurns,
    },
    {
      ...msgpack(
        'batch/msgpack 10x10',
        groups.map((group: WorkloadContext[]) => ({ contexts: group, flags: keys.slice(0, BATCH_SIDE) })),
      ),
      path: '/v1/evaluate/batch',
      evaluationsPerRequest: BATCH_SIDE * BATCH_SIDE,
      ...inTurns,
    },
  ];
}

type Asked = Omit<HttpCase, 'connections' | 'pipelining'>;

function msgpack(name: string, bodies: readonly object[]): Asked {
  const encoded = bodies.map((body) => Buffer.from(encode(body)));
  return { name, path: '/v1/evaluate', contentType: 'application/msgpack', bodies: encoded, evaluationsPerRequest: 1 };
}

function json(name: string, bodies: readonly object[]): Asked {
  const encoded = bodies.map((body) => Buffer.from(JSON.stringify(body)));
  return { name, path: '/v1/evaluate', contentType: 'application/json', bodies: encoded, evaluationsPerRequest: 1 };
}
