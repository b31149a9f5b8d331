import assert from 'node:assert/strict';
import {
  compileSnapshot,
  type Definition,
  encodeMsgpack,
  type KernelAnswer,
  KernelHost,
  type ResidentSnapshot,
} from '@guidon/engine';
import { EvaluationPool, type EvaluationPoolOptions, type PooledAnswer } from '@guidon/pool';
import { type Json, PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../support/kernel-evaluator.js';
import { poison } from '../../support/trapping-kernel.js';

const options = { route: 'batch', now: 0, clientSideOnly: false } as const;
let host: KernelHost;
let pool: EvaluationPool;
let resident: ResidentSnapshot;

async function load(definitions: readonly Definition[], revision = 1): Promise<ResidentSnapshot> {
  const { compiled } = compileSnapshot(flagSetOf(definitions), { environment: TEST_ENVIRONMENT, revision });
  assert(compiled !== undefined, 'it compiles');
  return host.load(compiled.snapshot);
}

/** Looks for so many texts in the text of a slow context: about 0.1 ms each. */
const searching = (key: string, count: number): Definition =>
  aFlag(key, {
    rules: [
      {
        id: 'r',
        when: {
          attribute: 's',
          op: 'contains',
          values: Array.from({ length: count }, (_, index) => `${'a'.repeat(20)}b${index}`),
        },
        serve: { variation: 'off' },
      },
    ],
  });
const slowContexts = (count: number) => Array.from({ length: count }, () => ({ s: 'a'.repeat(31_000) }));
const plain = encodeMsgpack({ requests: [{ flag: 'flag', context: {} }] });
/** About 10 ms. */
const slow = encodeMsgpack({ contexts: slowContexts(2), flags: ['slow'] });
/** Half a second, almost all the fuel that a request has. */
const slowest = encodeMsgpack({ contexts: slowContexts(20), flags: ['slowest'] });

function start(more: EvaluationPoolOptions = {}): Promise<void> {
  pool = new EvaluationPool(host.memory, { threadCount: 1, deadlineMs: 20_000, ...more });
  return pool.whenReady();
}

interface Asked {
  readonly tenantId?: string;
  readonly on?: ResidentSnapshot;
  readonly signal?: AbortSignal;
}

/** A copy of the answer, or what else it was. */
function ask(body: Uint8Array, { tenantId = 'a', on = resident, signal }: Asked = {}): Promise<Buffer | PooledAnswer> {
  return pool.evaluate({
    tenantId,
    body,
    open: () => ({ resident: on, options }),
    use: (answer) => (answer.status === 'ok' ? Buffer.from(answer.bytes) : answer),
    ...(signal === undefined ? {} : { signal }),
  });
}

function inline(body: Uint8Array, on = resident): Buffer {
  const answer: KernelAnswer = host.evaluate(on, body, options);
  assert(answer.status === 'ok', answer.status);
  return Buffer.from(answer.bytes);
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof PlatformError ? error.code : String(error)),
  );

beforeAll(async () => {
  host = await KernelHost.create();
  resident = await load([aFlag('flag'), searching('slow', 50), searching('slowest', 200)]);
});

afterEach(async () => {
  await pool.close();
  expect(host.memoryUsage().retiredCount).toBe(0);
});

describe('EvaluationPool', () => {
  it('answers as the serving thread does, also what is refused and what needs larger regions', async () => {
    const values = [{ key: 'yes', value: 'x'.repeat(60_000) }, ...aFlag('b').variations.slice(1)];
    const large = await load([aFlag('big', { variations: values, fallthrough: { variation: 'yes' } })], 2);
    const many = encodeMsgpack({ contexts: Array.from({ length: 100 }, () => ({})), flags: ['big'] });
    const long = encodeMsgpack({
      requests: Array.from({ length: 9_000 }, (_, index) => ({ flag: 'flag', context: { index } })),
    });
    await start({ threadCount: 2 });
    for (const [body, on] of [
      [plain, resident],
      [many, large],
      [long, resident],
      [plain, large],
    ] as const) {
      const answer = await ask(body, { on });
      expect(Buffer.isBuffer(answer) && answer.equals(inline(body, on))).toBe(true);
    }
    expect(await ask(encodeMsgpack({ requests: 5 }))).toEqual(
      host.evaluate(resident, encodeMsgpack({ requests: 5 }), options),
    );
    expect(await ask(Buffer.of(0xc1))).toMatchObject({ status: 'malformed-body' });
    const over = new Uint8Array(REQUEST_LIMITS.batchBodyBytes + 1);
    expect(await ask(over)).toMatchObject({ status: 'payload-too-large' });
    host.release(large);
  });

  it("copies a request that waits: its buffer is the caller's again at once", async () => {
    await start();
    const first = ask(slow);
    const borrowed = Uint8Array.from(plain);
    const second = ask(borrowed);
    borrowed.fill(0xc1);
    expect(await second).toEqual(inline(plain));
    expect(await first).toEqual(inline(slow));
  });

  it('evaluates on what serves when the request starts, and frees what was released meanwhile after it', async () => {
    await start();
    // Regions are as large as they will be.
    expect(await ask(slowest)).toEqual(inline(slowest));
    const before = host.memoryUsage().usedBytes;
    let serving = await load([aFlag('flag')], 5);
    const open = () => ({ resident: serving, options });
    const revisionOf = (answer: PooledAnswer): unknown =>
      answer.status === 'ok' && Buffer.from(answer.bytes).includes(6);
    const running = ask(slowest);
    const waiting = pool.evaluate({ tenantId: 'a', body: plain, open, use: revisionOf });
    const old = serving;
    serving = await load([aFlag('flag')], 6);
    host.release(old);
    expect(await waiting).toBe(true);
    expect(await running).toEqual(inline(slowest));
    host.release(serving);
    expect(host.memoryUsage().usedBytes).toBe(before);
  });

  it('says that nothing is resident, and passes on what the request is refused with', async () => {
    await start();
    const use = (answer: PooledAnswer): string => answer.status;
    expect(await pool.evaluate({ tenantId: 'a', body: plain, open: () => undefined, use })).toBe('cold');
    const open = (): never => {
      throw new PlatformError('not-ready', 'none yet');
    };
    expect(await codeOf(pool.evaluate({ tenantId: 'a', body: plain, open, use }))).toBe('not-ready');
    expect(await ask(plain)).toEqual(inline(plain));
  });

  it('serves a tenant that asks little within two turns, whatever another one asks (I17)', async () => {
    await start();
    const order: string[] = [];
    const note = (name: string) => (): void => void order.push(name);
    const flood = Array.from({ length: 12 }, (_, index) => ask(slow, { tenantId: 'a' }).then(note(`a${index}`)));
    const other = ask(plain, { tenantId: 'b' }).then(note('b'));
    await Promise.all([...flood, other]);
    expect(order.indexOf('b')).toBeLessThanOrEqual(2);
    expect(order.filter((name) => name !== 'b')).toEqual(Array.from({ length: 12 }, (_, index) => `a${index}`));
  });

  it('refuses with `overloaded` what one tenant or all ask too much of (I25)', async () => {
    await start({ queueCountMax: 3, tenantQueueCountMax: 2, tenantQueueBytesMax: slow.length * 2 });
    const asked = ['a', 'a', 'a', 'a', 'b', 'c'].map((tenantId) => codeOf(ask(slow, { tenantId })));
    expect(pool.queueCount).toBe(3);
    expect(await Promise.all(asked)).toEqual([
      'resolved',
      'resolved',
      'resolved',
      'overloaded',
      'resolved',
      'overloaded',
    ]);
    expect(pool.counters).toMatchObject({ runs: 4, refused: 2 });
    expect(await ask(plain)).toEqual(inline(plain));
  });

  it('forgets a request that waits when its client goes away, and drops the answer of one that runs', async () => {
    await start();
    const controllers = [new AbortController(), new AbortController()] as const;
    const running = codeOf(ask(slow, { signal: controllers[0].signal }));
    const waiting = codeOf(ask(slow, { signal: controllers[1].signal }));
    expect(pool.queueCount).toBe(1);
    for (const controller of controllers) controller.abort();
    expect(pool.queueCount).toBe(0);
    expect(await Promise.all([running, waiting])).toEqual(['timeout', 'timeout']);
    expect(await codeOf(ask(plain, { signal: AbortSignal.abort() }))).toBe('timeout');
    expect(await ask(plain)).toEqual(inline(plain));
    expect(pool.counters).toMatchObject({ runs: 2, discarded: 0 });
  });

  it('counts who left until the call ends, so that leaving frees no place (I17)', async () => {
    await start();
    const left = new AbortController();
    let isOver = false;
    const running = codeOf(ask(slow, { signal: left.signal })).finally(() => {
      isOver = true;
    });
    left.abort();
    await new Promise(setImmediate);
    expect([isOver, pool.runningCount]).toEqual([false, 1]);
    expect(await running).toBe('timeout');
    expect([pool.counters.runs, pool.runningCount]).toEqual([1, 0]);
  });

  it('does not try again for nobody what is over the deadline', async () => {
    await start({ deadlineMs: 150 });
    const left = new AbortController();
    const running = codeOf(ask(slowest, { signal: left.signal }));
    left.abort();
    expect(await running).toBe('timeout');
    expect(pool.counters).toMatchObject({ runs: 1, discarded: 1 });
    expect(await ask(plain)).toEqual(inline(plain));
  });

  it('answers ERROR for a call that is over the deadline, and replaces its worker (I20)', async () => {
    const discarded: string[] = [];
    await start({ deadlineMs: 150, onDiscard: (why) => discarded.push(why) });
    const answer = await ask(slowest);
    assert(Buffer.isBuffer(answer), 'it is answered all the same');
    const failed: Json = { flag: 'slowest', reason: 'ERROR', errorCode: 'GENERAL' };
    expect(answer).toEqual(
      Buffer.from(encodeMsgpack({ revision: 1, results: Array.from({ length: 20 }, () => failed) })),
    );
    expect(discarded).toEqual(['overran']);
    expect(await ask(plain)).toEqual(inline(plain));
  });

  it('says so when the kernel traps, in a worker that is used no more; others go on (I20)', async () => {
    const discarded: unknown[] = [];
    await start({ onDiscard: (...what) => discarded.push(what) });
    const poisoned = await load([aFlag('flag')], 9);
    const mend = poison(host.memory, poisoned);
    const trapping = ask(plain, { on: poisoned });
    const waiting = ask(slow);
    expect(await trapping).toEqual({
      status: 'trapped',
      cause: expect.objectContaining({ message: 'the kernel stopped' }),
    });
    expect(await waiting).toEqual(inline(slow));
    expect(discarded).toEqual([['trapped', expect.objectContaining({ message: 'the kernel stopped' })]]);
    mend();
    expect(await ask(plain, { on: poisoned })).toEqual(inline(plain, poisoned));
    host.release(poisoned);
  });

  it('closes while requests run and wait, and refuses from then on', async () => {
    await start();
    const asked = [slow, slow, plain].map((body) => codeOf(ask(body)));
    await pool.close();
    expect(await Promise.all(asked)).toEqual(['overloaded', 'overloaded', 'overloaded']);
    expect(await codeOf(ask(plain))).toBe('overloaded');
    await pool.close();
  });

  it("has its workers' memory back once it is closed, and can start again", async () => {
    const before = host.memoryUsage().usedBytes;
    await start({ threadCount: 3 });
    expect(host.memoryUsage().usedBytes).toBeGreaterThan(before);
    await Promise.all([ask(slow), ask(slow), ask(slow), ask(plain)]);
    await pool.close();
    expect(host.memoryUsage().usedBytes).toBe(before);
    await start();
    expect(await ask(plain)).toEqual(inline(plain));
  });
});
