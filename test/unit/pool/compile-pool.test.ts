import { type Definition, definitionKey, encodeDefinition, KernelHost } from '@guidon/engine';
import { type CompiledAnswer, CompilePool } from '@guidon/pool';
import { parseEnvironmentRef } from '@guidon/protocol';
import { DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment } from '../../support/flag-sets.js';

const environment = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' });
const other = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'other' });
const bytesOf = (definitions: readonly Definition[]) => definitions.map(encodeDefinition);

function digestOf(definitions: readonly Definition[]): string {
  const tree = new DigestTree();
  for (const definition of definitions) {
    tree.set(definition.kind, definitionKey(definition), hashDefinition(encodeDefinition(definition)));
  }
  return tree.digest();
}

const FIRST = [
  aFlag('a'),
  aFlag('b'),
  aFlag('c', { rules: [{ id: 'r', when: { segment: ['vip'] }, serve: { variation: 'yes' } }] }),
  aSegment('vip'),
  aChunk('vip', 'included', ['user-1']),
];

let pool: CompilePool;
beforeAll(() => {
  pool = new CompilePool({ threadCount: 1 });
});
afterAll(() => pool.close());

async function compiled(request: Parameters<CompilePool['compile']>[0]): Promise<CompiledAnswer> {
  const answer = await pool.compile(request);
  if (answer.status !== 'compiled') throw new Error(`${answer.status}: ${JSON.stringify(answer)}`);
  return answer;
}

describe('CompilePool compile()', () => {
  it('compiles everything, names it by its digest, and the kernel loads it', async () => {
    const answer = await compiled({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] });
    expect(answer).toMatchObject({ isFull: true, digest: digestOf(FIRST), droppedBlockIds: [] });
    expect(answer.entries.map(([kind, key]) => [kind, key])).toEqual(
      FIRST.map((one) => [one.kind, definitionKey(one)]),
    );
    const host = await KernelHost.create();
    const resident = await host.load({ environment, revision: 1, root: answer.root, blocks: answer.newBlocks });
    expect(resident.flagCount).toBe(3);
  });

  it('keeps the bytes it was given', async () => {
    const bytes = bytesOf(FIRST);
    await compiled({ environment: other, revision: 1, changed: bytes, removed: [] });
    expect(bytes.every(({ length }) => length > 0)).toBe(true);
  });

  it('a change sends and returns what changed alone, and equals a compile of the whole', async () => {
    const first = await compiled({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] });
    const changedA = aFlag('a', { on: false });
    const change = await compiled({
      environment,
      revision: 2,
      base: first.digest,
      changed: bytesOf([changedA]),
      removed: [['flag', 'b']],
    });
    const set = [changedA, ...FIRST.slice(2)];
    expect(change).toMatchObject({ isFull: false, digest: digestOf(set) });
    expect(change.newBlocks.size).toBe(1);
    expect(change.droppedBlockIds).toHaveLength(2);
    const whole = await compiled({ environment, revision: 2, changed: bytesOf(set), removed: [] });
    const blocks = new Map([...first.newBlocks, ...change.newBlocks]);
    for (const id of change.droppedBlockIds) blocks.delete(id);
    expect(new Set(blocks.keys())).toEqual(new Set(whole.newBlocks.keys()));
  });

  it('a change that was not activated can be compiled against its base again', async () => {
    const first = await compiled({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] });
    for (const on of [false, true]) {
      const answer = await compiled({
        environment,
        revision: 2,
        base: first.digest,
        changed: bytesOf([aFlag('a', { on, salt: 'other' })]),
        removed: [],
      });
      expect(answer.isFull).toBe(false);
    }
  });

  it('asks for everything when it does not have the base, also that of another environment (I16)', async () => {
    const first = await compiled({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] });
    const nobody = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'nobody' });
    for (const request of [
      { environment, base: 'f'.repeat(64) },
      { environment: nobody, base: first.digest },
    ]) {
      const answer = await pool.compile({ ...request, revision: 2, changed: [], removed: [] });
      expect(answer).toEqual({ status: 'needs-all' });
    }
  });

  it('compiles nothing when the digest is not the expected one', async () => {
    const answer = await pool.compile({
      environment,
      revision: 1,
      changed: bytesOf(FIRST),
      removed: [],
      expectedDigest: 'f'.repeat(64),
    });
    expect(answer).toEqual({ status: 'digest-mismatch', digest: digestOf(FIRST) });
  });

  it.each<[string, Uint8Array[], string]>([
    ['garbage', [Buffer.from([0, 1, 2])], 'malformed-body'],
    [
      'weights that do not sum',
      [encodeDefinition(aFlag('x', { fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 1 }] } } }))],
      'bad-weights',
    ],
    ['a cycle', bytesOf([aFlag('x', { prerequisites: [{ flag: 'x', variations: ['yes'] }] })]), 'reference-cycle'],
    ['a chunk without its segment', bytesOf([aChunk('nowhere', 'included', ['k'])]), 'dangling-reference'],
  ])('refuses %s with an issue, and goes on with the base', async (_name, changed, code) => {
    const first = await compiled({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] });
    const answer = await pool.compile({ environment, revision: 2, base: first.digest, changed, removed: [] });
    expect(answer.status).toBe('refused');
    expect(answer.status === 'refused' ? answer.issues[0]?.code : undefined).toBe(code);
    await compiled({ environment, revision: 2, base: first.digest, changed: bytesOf([aFlag('y')]), removed: [] });
  });
});

describe('CompilePool explain()', () => {
  it('refuses definitions that are not those of the base', async () => {
    const base = digestOf(FIRST.slice(1));
    const definitions = bytesOf(FIRST);
    const answer = await pool.explain({ ...request, environment: other, base, definitions });
    expect(answer).toEqual({ status: 'digest-mismatch', digest: digestOf(FIRST) });
  });

  it('takes a few of one environment at a time; others and compiles do not notice (I25)', async () => {
    const crowded = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'crowded' });
    const own = new CompilePool({ threadCount: 1, queueCountMax: 16 });
    const base = digestOf(FIRST);
    const definitions = bytesOf(FIRST);
    const many = Array.from({ length: 30 }, () => own.explain({ ...request, environment: crowded, base, definitions }));
    const others = own.explain({ ...request, environment: other, base, definitions });
    expect(own.queueCount).toBe(0);
    const outcomes = await Promise.allSettled(many);
    const refused = outcomes.flatMap((outcome): unknown[] => (outcome.status === 'rejected' ? [outcome.reason] : []));
    expect(refused).toHaveLength(22);
    for (const reason of refused) expect(reason).toMatchObject({ code: 'overloaded' });
    expect(await others).toMatchObject({ status: 'explained' });
    expect(await own.explain({ ...request, environment: crowded, base })).toMatchObject({ status: 'explained' });
    await own.close();
  });

  it('ends one that nobody waits for any more, running or waiting, and goes on with the next', async () => {
    const own = new CompilePool({ threadCount: 1 });
    const keys = Array.from({ length: 3_000 }, (_, key) => `key-${key}`);
    const large = Array.from({ length: 200 }, (_, index) =>
      aFlag(`flag-${index}`, { targets: [{ contextKind: 'user', variation: 'yes', keys }] }),
    );
    const gone = new AbortController();
    const definitions = bytesOf(large);
    const all = [1, 2].map(() =>
      own.explain({ ...request, flag: 'flag-1', base: digestOf(large), definitions }, gone.signal),
    );
    const next = own.explain({ ...request, base: digestOf(FIRST), definitions: bytesOf(FIRST) });
    setImmediate(() => gone.abort());
    for (const outcome of await Promise.allSettled(all)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'timeout' } });
    }
    expect(await next).toMatchObject({ status: 'explained' });
    await own.close();
  });

  const request = { environment, flag: 'c', context: '{"targetingKey":"user-1"}', now: 1_700_000_000_000 };

  it('explains what it is sent', async () => {
    const { digest } = await compiled({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] });
    const answer = await pool.explain({ ...request, base: digest, definitions: bytesOf(FIRST) });
    expect(answer.status === 'explained' ? JSON.parse(answer.explanation) : answer).toMatchObject({
      result: { flag: 'c', value: 'yes', ruleId: 'r' },
    });
  });

  it('asks for the definitions, takes them, and needs the blocks anew for the next compile', async () => {
    const nobody = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'explains' });
    const base = digestOf(FIRST);
    expect(await pool.explain({ ...request, environment: nobody, base })).toEqual({ status: 'needs-all' });
    const answer = await pool.explain({ ...request, environment: nobody, base, definitions: bytesOf(FIRST) });
    expect(answer.status).toBe('explained');
    expect(await pool.explain({ ...request, environment: nobody, base })).toMatchObject({ status: 'explained' });
    expect(await pool.compile({ environment: nobody, revision: 2, base, changed: [], removed: [] })).toEqual({
      status: 'needs-all',
    });
  });
});

describe('CompilePool bounds', () => {
  const manyFlags = Array.from({ length: 2_000 }, (_, index) => encodeDefinition(aFlag(`flag-${index}`)));

  it('a full queue is refused as overloaded, and takes again afterwards (I25)', async () => {
    const small = new CompilePool({ threadCount: 1, queueCountMax: 1 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => small.compile({ environment, revision: 1, changed: manyFlags, removed: [] })),
    );
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const outcome of refused) expect(outcome).toMatchObject({ reason: { code: 'overloaded' } });
    expect((await small.compile({ environment, revision: 1, changed: [], removed: [] })).status).toBe('compiled');
    await small.close();
  });

  it('a task over its deadline ends its worker, and a new one answers', async () => {
    const hasty = new CompilePool({ threadCount: 1, deadlineMs: 150 });
    const huge = Array.from({ length: 5_000 }, (_, index) =>
      encodeDefinition(
        aFlag(`flag-${index}`, {
          targets: [
            { contextKind: 'user', variation: 'yes', keys: Array.from({ length: 200 }, (_, key) => `key-${key}`) },
          ],
        }),
      ),
    );
    await expect(hasty.compile({ environment, revision: 1, changed: huge, removed: [] })).rejects.toMatchObject({
      code: 'timeout',
    });
    let answer = await hasty
      .compile({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] })
      .catch(() => undefined);
    // A new thread needs longer to start than this pool's deadline on a slow machine.
    for (let tries = 0; answer === undefined && tries < 50; tries += 1) {
      answer = await hasty
        .compile({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] })
        .catch(() => undefined);
    }
    expect(answer?.status).toBe('compiled');
    await hasty.close();
  });

  it('a worker that runs out of memory is replaced; the process lives', async () => {
    const small = new CompilePool({ threadCount: 1, workerHeapMegabytesMax: 24 });
    const big = Array.from({ length: 300 }, (_, index) =>
      encodeDefinition(
        aFlag(`flag-${index}`, {
          targets: [
            {
              contextKind: 'user',
              variation: 'yes',
              keys: Array.from({ length: 10_000 }, (_, key) => `key-${index}-${key}`),
            },
          ],
        }),
      ),
    );
    await expect(small.compile({ environment, revision: 1, changed: big, removed: [] })).rejects.toMatchObject({
      code: 'internal',
    });
    expect((await small.compile({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] })).status).toBe(
      'compiled',
    );
    await small.close();
  });

  it('forgets the environment used longest ago when there is no room', async () => {
    const small = new CompilePool({ threadCount: 1, stateBytesMax: 1 });
    const first = await small.compile({ environment, revision: 1, changed: bytesOf(FIRST), removed: [] });
    if (first.status !== 'compiled') throw new Error(first.status);
    await small.compile({ environment: other, revision: 1, changed: bytesOf(FIRST), removed: [] });
    const again = await small.compile({ environment, revision: 2, base: first.digest, changed: [], removed: [] });
    expect(again).toEqual({ status: 'needs-all' });
    await small.close();
  });

  it('close() refuses what comes later', async () => {
    const closed = new CompilePool({ threadCount: 1 });
    await closed.close();
    await expect(closed.compile({ environment, revision: 1, changed: [], removed: [] })).rejects.toMatchObject({
      code: 'overloaded',
    });
  });
});

describe('CompilePool replay()', () => {
  const context = JSON.stringify({ targetingKey: 'user-1' });
  const step = (changed: readonly Definition[], removed: readonly (readonly [string, string])[] = []) => ({
    changed: bytesOf(changed),
    removed,
  });
  const request = { environment, context, flags: ['c', 'gone'], isExplained: false, now: 5 };

  it('evaluates over states, each made from the one before', async () => {
    const steps = [
      step(FIRST),
      step([aChunk('vip', 'included', ['user-2'])]),
      step([aChunk('vip', 'included', ['user-1'])]),
      step([], [['segment', 'vip']]),
    ];
    const answers = JSON.parse((await pool.replay({ ...request, steps })).steps) as { value: unknown }[][];
    expect(answers.map(([c]) => c?.value)).toEqual(['yes', 'no', 'yes', 'no']);
    expect(answers.map(([, gone]) => gone)).toEqual(
      steps.map(() => expect.objectContaining({ errorCode: 'FLAG_NOT_FOUND' })),
    );
  });

  it('explains when asked to, forgets what it was sent, and refuses more than its bound', async () => {
    const steps = [step(FIRST)];
    const [[answer]] = JSON.parse((await pool.replay({ ...request, isExplained: true, steps })).steps);
    expect(answer).toMatchObject({ now: 5, flags: [{ flag: 'c' }], result: { value: 'yes' } });
    const [[nothing]] = JSON.parse((await pool.replay({ ...request, steps: [step([])] })).steps);
    expect(nothing.errorCode).toBe('FLAG_NOT_FOUND');
    const many = await Promise.allSettled(Array.from({ length: 9 }, () => pool.replay({ ...request, steps })));
    const refused = many.filter((one) => one.status === 'rejected');
    expect(refused.map(({ reason }) => reason)).toEqual([expect.objectContaining({ code: 'overloaded' })]);
  });
});
