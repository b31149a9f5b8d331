import type { FlagDefinition } from '@guidon/engine';
import { type BodyFormat, encodeBody } from '../support/http-request.js';
import { W1_FLAG, W2_FLAG, type WorkloadContext, w1Flag, w2Flag, w3Flags, workloadContexts } from '../workloads.js';

/** The environments that are asked: one with the flags of W1 and W2, one with the 200 of W3 and nothing else. */
export const HTTP_ENVIRONMENTS = {
  single: [w1Flag(), w2Flag()],
  all: w3Flags(),
} as const satisfies Readonly<Record<string, readonly FlagDefinition[]>>;

/** What one body asks: flags of each context in turn. `shape` tells where the answer holds its results. */
export interface Question {
  readonly body: Buffer;
  readonly shape: 'one' | 'list';
  readonly asked: readonly { readonly context: WorkloadContext; readonly flags: readonly string[] }[];
}

/** One way of asking. The generator takes the questions in turn. */
export interface HttpCase {
  readonly name: string;
  readonly environment: keyof typeof HTTP_ENVIRONMENTS;
  readonly path: '/v1/evaluate' | '/v1/evaluate/batch';
  readonly format: BodyFormat;
  readonly questions: readonly Question[];
  readonly generator: 'wrk' | 'autocannon';
  readonly connections: number;
  readonly pipelining: number;
}

type Asked = Omit<HttpCase, 'generator' | 'connections' | 'pipelining'>;

/** Single questions that the generator takes in turn; more would only fill its caches. */
const SINGLE_COUNT = 1_000;
const BATCH_SIDE = 10;
const PAIR_COUNT = 100;
const BATCH_BODY_COUNT = 100;

/** Every case once, the ones with a figure to reach first. */
export function httpCases(): HttpCase[] {
  const w1 = single('W1', W1_FLAG, 'msgpack');
  const w2 = single('W2', W2_FLAG, 'msgpack');
  const w2Json = single('W2 json', W2_FLAG, 'json');
  const large = [allFlags, batch, pairs];
  return [
    ...[w1, w2].flatMap((asked) => shapes(asked, 'wrk', [64, 1], [64, 10], [512, 1], [512, 10])),
    ...[w1, w2].flatMap((asked) => shapes(asked, 'autocannon', [64, 10], [64, 1])),
    ...shapes(w2Json, 'wrk', [64, 1], [64, 10], [512, 1]),
    ...shapes(w2Json, 'autocannon', [64, 10]),
    ...large.flatMap((make) => shapes(make('msgpack'), 'wrk', [64, 1], [512, 1])),
    ...large.flatMap((make) => shapes(make('json'), 'wrk', [64, 1])),
  ];
}

export function evaluationCount({ asked }: Question): number {
  return asked.reduce((count, { flags }) => count + flags.length, 0);
}

function shapes(asked: Asked, generator: HttpCase['generator'], ...loads: readonly [number, number][]): HttpCase[] {
  return loads.map(([connections, pipelining]) => ({ ...asked, generator, connections, pipelining }));
}

function single(name: string, flag: string, format: BodyFormat): Asked {
  const questions = workloadContexts()
    .slice(0, SINGLE_COUNT)
    .map((context): Question => {
      const body = encodeBody({ flags: flag, context }, format);
      return { body, shape: 'one', asked: [{ context, flags: [flag] }] };
    });
  return { name, environment: 'single', path: '/v1/evaluate', format, questions };
}

/** All 200 flags of the environment for one context, none of them named. */
function allFlags(format: BodyFormat): Asked {
  const flags = HTTP_ENVIRONMENTS.all.map(({ key }) => key);
  const questions = workloadContexts()
    .slice(0, SINGLE_COUNT)
    .map(
      (context): Question => ({ body: encodeBody({ context }, format), shape: 'list', asked: [{ context, flags }] }),
    );
  return { name: `W3 all ${format}`, environment: 'all', path: '/v1/evaluate', format, questions };
}

/** 10 contexts x 10 flags of W3. */
function batch(format: BodyFormat): Asked {
  const flags = HTTP_ENVIRONMENTS.all.slice(0, BATCH_SIDE).map(({ key }) => key);
  const questions = groups(BATCH_SIDE).map((contexts): Question => {
    const body = encodeBody({ contexts, flags }, format);
    return { body, shape: 'list', asked: contexts.map((context) => ({ context, flags })) };
  });
  return { name: `batch 10x10 ${format}`, environment: 'all', path: '/v1/evaluate/batch', format, questions };
}

/** 100 pairs of W2's flag and a context, no context twice. */
function pairs(format: BodyFormat): Asked {
  const questions = groups(PAIR_COUNT).map((contexts): Question => {
    const body = encodeBody({ requests: contexts.map((context) => ({ flag: W2_FLAG, context })) }, format);
    return { body, shape: 'list', asked: contexts.map((context) => ({ context, flags: [W2_FLAG] })) };
  });
  return { name: `batch 100 pairs ${format}`, environment: 'single', path: '/v1/evaluate/batch', format, questions };
}

function groups(size: number): WorkloadContext[][] {
  const contexts = workloadContexts();
  return Array.from({ length: BATCH_BODY_COUNT }, (_, index) => contexts.slice(index * size, (index + 1) * size));
}
