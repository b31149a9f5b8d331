import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  type CompiledSnapshot,
  chunkSegmentKeys,
  compileSnapshot,
  type Definition,
  decodeStrictMsgpack,
  encodeMsgpack,
  type KernelAnswer,
  KernelHost,
  type ResidentSnapshot,
} from '@guidon/engine';
import { rootDigest } from '@guidon/engine/compile/compile-root.js';
import { ROOT } from '@guidon/engine/compile/layout.js';
import { type Json, REQUEST_LIMITS } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../../support/kernel-evaluator.js';

function compile(definitions: readonly Definition[], revision = 1): CompiledSnapshot {
  const { compiled, issues } = compileSnapshot(flagSetOf(definitions), { environment: TEST_ENVIRONMENT, revision });
  assert(compiled !== undefined, JSON.stringify(issues));
  return compiled.snapshot;
}

function ask(
  host: KernelHost,
  resident: ResidentSnapshot,
  body: Json,
  route: 'evaluate' | 'batch' = 'evaluate',
): KernelAnswer {
  return host.evaluate(resident, encodeMsgpack(body), { route, now: 0, clientSideOnly: false });
}

/** With one block replaced, and every digest right again. */
function withBlock(snapshot: CompiledSnapshot, blockId: string, block: Uint8Array): CompiledSnapshot {
  const id = createHash('sha256').update(block).digest();
  const blocks = new Map(
    [...snapshot.blocks].map(([key, bytes]) => (key === blockId ? [id.toString('hex'), block] : [key, bytes])),
  );
  const root = Buffer.from(snapshot.root);
  id.copy(root, root.indexOf(Buffer.from(blockId, 'hex')));
  root.set(rootDigest(root), ROOT.digest);
  return { ...snapshot, root, blocks };
}

function decodedOf(answer: KernelAnswer): unknown {
  assert(answer.status === 'ok', JSON.stringify(answer));
  const decoded = decodeStrictMsgpack(answer.bytes);
  assert(decoded.ok, 'answers are well-formed');
  return decoded.value;
}

const flags = [aFlag('a'), aFlag('b', { on: false })];
const context = { targetingKey: 'user-1' };
const A = { flag: 'a', value: 'no', variation: 'no', reason: 'STATIC' };
const B = { flag: 'b', value: 'off', variation: 'off', reason: 'DISABLED' };
const NOT_FOUND = { flag: 'x', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' };

describe('KernelHost.evaluate()', async () => {
  const host = await KernelHost.create();
  const resident = await host.load(compile(flags, 9));

  it.each<[string, Json, unknown]>([
    ['one flag', { flags: 'a', context }, { revision: 9, ...A }],
    ['many flags, one twice', { flags: ['b', 'x', 'b'], context }, { revision: 9, results: [B, NOT_FOUND, B] }],
    ['no flags at all', { flags: [], context }, { revision: 9, results: [] }],
    ['all visible flags', { context }, { revision: 9, results: [A, B] }],
    ['the short form', { flag_key: 'a', user_id: 'user-1', context: {} }, { revision: 9, ...A }],
    ['the short form without a context', { flagKey: 'a', userId: 7 }, { revision: 9, ...A }],
    ['a revision it has reached', { flags: 'a', context, minRevision: 9 }, { revision: 9, ...A }],
  ])('answers %s', (_, body, expected) => {
    expect(decodedOf(ask(host, resident, body))).toEqual(expected);
  });

  it('answers a batch in the order asked, bad entries in their place', () => {
    const requests = [
      { flag: 'a', context },
      'none',
      { flag: 'x', context },
      { flag: 'a' },
      { context },
      { flag: 'b', context: 3 },
    ];
    const unnamed = { flag: '', reason: 'ERROR', errorCode: 'PARSE_ERROR' };
    const invalid = (flag: string) => ({ flag, reason: 'ERROR', errorCode: 'INVALID_CONTEXT' });
    expect(decodedOf(ask(host, resident, { requests }, 'batch'))).toEqual({
      revision: 9,
      results: [A, unnamed, NOT_FOUND, invalid('a'), unnamed, invalid('b')],
    });
    expect(decodedOf(ask(host, resident, { contexts: [context, null], flags: ['a', 'b'] }, 'batch'))).toEqual({
      revision: 9,
      results: [A, B, invalid('a'), invalid('b')],
    });
  });

  it.each<[string, Json, 'evaluate' | 'batch', string, string | undefined]>([
    ['a body that is no object', [], 'evaluate', 'validation-failed', ''],
    ['a misspelt member', { flagz: 'a', context }, 'evaluate', 'validation-failed', '/flagz'],
    ['a member with a slash', { 'a/b': 1, context }, 'evaluate', 'validation-failed', '/a~1b'],
    ['no context', { flags: 'a' }, 'evaluate', 'validation-failed', '/context'],
    ['a key that is no string', { flags: ['a', 1], context }, 'evaluate', 'validation-failed', '/flags/1'],
    ['flags: null', { flags: null, context }, 'evaluate', 'validation-failed', '/flags'],
    ['two ways to ask', { flags: 'a', flag_key: 'a', context }, 'evaluate', 'validation-failed', '/flag_key'],
    [
      'two spellings of the user',
      { flags: 'a', user_id: 'u', userId: 'u', context },
      'evaluate',
      'validation-failed',
      '/user_id',
    ],
    ['a user id that is no id', { flags: 'a', user_id: true, context }, 'evaluate', 'validation-failed', '/user_id'],
    [
      'a revision that is none',
      { flags: 'a', context, minRevision: 1.5 },
      'evaluate',
      'validation-failed',
      '/minRevision',
    ],
    ['requests beside contexts', { requests: [], contexts: [], flags: [] }, 'batch', 'validation-failed', '/requests'],
    ['neither', { flags: ['a'] }, 'batch', 'validation-failed', '/requests'],
    ['contexts without flags', { contexts: [context] }, 'batch', 'validation-failed', '/flags'],
    ['an evaluate body as a batch', { flags: ['a'], context }, 'batch', 'validation-failed', '/context'],
    [
      'a context of 513 attributes',
      { flags: 'a', context: Object.fromEntries(Array.from({ length: 513 }, (__, index) => [`m${index}`, 1])) },
      'evaluate',
      'limit-exceeded',
      '/context',
    ],
    [
      'a context of 33 KiB',
      { flags: 'a', context: { x: 'y'.repeat(33 * 1024) } },
      'evaluate',
      'limit-exceeded',
      '/context',
    ],
    [
      '10 001 evaluations',
      { contexts: new Array<Json>(10_001).fill({}), flags: ['a'] },
      'batch',
      'limit-exceeded',
      '/contexts',
    ],
  ])('refuses %s', (_, body, route, status, pointer) => {
    expect(ask(host, resident, body, route)).toMatchObject({ status, pointer });
  });

  it('answers exactly 10 000 evaluations', () => {
    const answer = ask(host, resident, { contexts: new Array<Json>(5_000).fill({}), flags: ['a', 'b'] }, 'batch');
    assert(answer.status === 'ok', answer.status);
    expect(answer.evaluations).toBe(10_000);
    expect((decodedOf(answer) as { results: unknown[] }).results).toHaveLength(10_000);
  });

  it('refuses bodies that are too large before reading them, and broken ones with the place', () => {
    const options = { route: 'evaluate', now: 0, clientSideOnly: false } as const;
    expect(host.evaluate(resident, new Uint8Array(REQUEST_LIMITS.bodyBytes + 1), options).status).toBe(
      'payload-too-large',
    );
    expect(host.evaluate(resident, Uint8Array.of(0x81, 0xa1, 0xff, 0xc0), options)).toEqual({
      status: 'malformed-body',
      detail: 'a string is not well-formed UTF-8 at byte 1',
    });
    expect(host.evaluate(resident, new Uint8Array(0), options).status).toBe('malformed-body');
    expect(ask(host, resident, { flags: 'a', context, minRevision: 10 })).toEqual({
      status: 'revision-behind',
      minRevision: 10,
    });
  });

  it('finds a key twice among many, whatever its length', () => {
    const names = Array.from({ length: 300 }, (_, index) => `name-${index}${'x'.repeat(index % 20)}`);
    const bodyOf = (list: readonly string[]): Uint8Array => {
      const header = Buffer.from([
        0x82,
        ...encodeMsgpack('flags'),
        ...encodeMsgpack('a'),
        ...encodeMsgpack('context'),
        0xde,
        list.length >> 8,
        list.length & 0xff,
      ]);
      return Buffer.concat([header, ...list.flatMap((name) => [encodeMsgpack(name), Uint8Array.of(1)])]);
    };
    const options = { route: 'evaluate', now: 0, clientSideOnly: false } as const;
    expect(host.evaluate(resident, bodyOf(names), options).status).toBe('ok');
    for (const twice of [0, 15, 16, 17, 299]) {
      expect(host.evaluate(resident, bodyOf([...names, names[twice] ?? '']), options).status).toBe('malformed-body');
    }
  });

  it('is for snapshots of this host only (I16)', async () => {
    const other = await KernelHost.create();
    expect(() => ask(other, resident, { flags: 'a', context })).toThrow('resident in this host');
    const released = await other.load(compile(flags));
    expect(decodedOf(ask(other, released, { flags: 'a', context }))).toEqual({ revision: 1, ...A });
    other.release(released);
    expect(() => ask(other, released, { flags: 'a', context })).toThrow('resident in this host');
    expect(() => other.release(released)).toThrow('released once');
  });
});

describe('KernelHost.evaluate() and the size of answers', () => {
  it('enlarges its answer region, and refuses an answer above 32 MiB', async () => {
    const host = await KernelHost.create();
    const value = 'v'.repeat(60_000);
    const big = aFlag('big', {
      variations: [
        { key: 'no', value },
        { key: 'off', value: 'off' },
      ],
    });
    const resident = await host.load(compile([big]));
    const many = (count: number): KernelAnswer =>
      ask(host, resident, { flags: new Array<string>(count).fill('big'), context });
    const answer = many(100);
    assert(answer.status === 'ok', answer.status);
    expect(answer.bytes.length).toBeGreaterThan(6_000_000);
    expect(
      (decodedOf(answer) as { results: { value: string }[] }).results.every((result) => result.value === value),
    ).toBe(true);
    expect(many(600).status).toBe('limit-exceeded');
    expect(many(1).status).toBe('ok');
  });
});

describe('KernelHost.load()', () => {
  it('copies only blocks that are not resident, and frees them with their last snapshot', async () => {
    const host = await KernelHost.create();
    const start = host.memoryUsage().usedBytes;
    const first = await host.load(compile(flags));
    const one = host.memoryUsage().usedBytes - start;
    const second = await host.load(compile([...flags, aFlag('c')], 2));
    const two = host.memoryUsage().usedBytes - start;
    expect(two - one).toBeLessThan(one);
    host.release(first);
    expect(decodedOf(ask(host, second, { flags: ['a', 'b'], context }))).toEqual({ revision: 2, results: [A, B] });
    host.release(second);
    expect(host.memoryUsage().usedBytes).toBe(start);
  });

  it('returns to where it started after 1 000 loads and releases', async () => {
    const host = await KernelHost.create();
    const snapshots = Array.from({ length: 4 }, (_, index) =>
      compile(
        Array.from({ length: 3 + index * 5 }, (__, flag) => aFlag(`f${flag}`, { salt: `s${index}` })),
        index + 1,
      ),
    );
    const warm = await Promise.all(snapshots.map((snapshot) => host.load(snapshot)));
    for (const resident of warm) host.release(resident);
    const start = host.memoryUsage();
    const held: ResidentSnapshot[] = [];
    for (let round = 0; round < 1_000; round += 1) {
      const snapshot = snapshots[round % snapshots.length];
      assert(snapshot !== undefined, 'there are four');
      held.push(await host.load(snapshot));
      const oldest = held.length > 3 ? held.shift() : undefined;
      if (oldest !== undefined) host.release(oldest);
    }
    for (const resident of held) host.release(resident);
    expect(host.memoryUsage()).toEqual(start);
  });

  it('leaves nothing behind when the memory is full, and goes on serving', async () => {
    const host = await KernelHost.create({ memoryBytesMax: 8 * 1024 * 1024 });
    const resident = await host.load(compile(flags));
    const before = host.memoryUsage().usedBytes;
    const value = 'v'.repeat(60_000);
    const variations = [
      { key: 'no', value },
      { key: 'off', value: `${value}2` },
    ];
    const large = Array.from({ length: 100 }, (_, index) => aFlag(`large-${index}`, { variations }));
    await expect(host.load(compile(large))).rejects.toMatchObject({ code: 'limit-exceeded' });
    expect(host.memoryUsage().usedBytes).toBe(before);
    expect(decodedOf(ask(host, resident, { flags: 'a', context }))).toEqual({ revision: 1, ...A });
  });

  it('refuses what the verifier refuses, for the environment it was loaded for', async () => {
    const host = await KernelHost.create();
    const snapshot = compile(flags);
    const start = host.memoryUsage().usedBytes;
    await expect(host.load({ ...snapshot, revision: 2 })).rejects.toMatchObject({ code: 'validation-failed' });
    await expect(host.load({ ...snapshot, blocks: new Map() })).rejects.toMatchObject({ code: 'validation-failed' });
    await expect(host.load({ ...snapshot, root: snapshot.root.subarray(0, -8) })).rejects.toMatchObject({
      code: 'validation-failed',
    });
    expect(host.memoryUsage().usedBytes).toBe(start);
  });

  it('lets the event loop turn while it tries patterns, once each, and refuses what is none', async () => {
    const host = await KernelHost.create();
    const snapshot = compile(
      Array.from({ length: 100 }, (_, flag) =>
        aFlag(`f${flag}`, {
          rules: Array.from({ length: 5 }, (_, rule) => ({
            id: `r${rule}`,
            when: { attribute: 'email', op: 'matches', values: [`^user-${flag}-${rule}[a-z]{1,20}(foo|bar){1,5}@x$`] },
            serve: { variation: 'yes' },
          })),
        }),
      ),
    );
    const turnsOfLoad = async (): Promise<number> => {
      let turns = 0;
      const timer = setInterval(() => {
        turns += 1;
      }, 0);
      host.release(await host.load(snapshot));
      clearInterval(timer);
      return turns;
    };
    expect(await turnsOfLoad()).toBeGreaterThan(5);

    const [blockId, block] = [...snapshot.blocks][0] ?? ['', new Uint8Array()];
    const broken = Buffer.from(block);
    broken.write('^user-(', broken.indexOf('^user-'));
    await expect(host.load(withBlock(snapshot, blockId, broken))).rejects.toMatchObject({
      code: 'validation-failed',
      message: expect.stringContaining('a pattern is not accepted'),
    });
  });

  it('lets the event loop turn while a large snapshot is copied', async () => {
    const host = await KernelHost.create();
    const keys = Array.from({ length: 200_000 }, (_, index) => `user-${index}`);
    const chunks = chunkSegmentKeys({ segment: 's', list: 'included', contextKind: 'user' }, keys);
    assert(chunks.ok, 'the keys fit');
    const rule = { id: 'r', when: { segment: ['s'] }, serve: { variation: 'yes' } } as const;
    const snapshot = compile([aFlag('a', { rules: [rule] }), aSegment('s'), ...chunks.value]);
    let turns = 0;
    let next = setImmediate(function count() {
      turns += 1;
      next = setImmediate(count);
    });
    const resident = await host.load(snapshot);
    clearImmediate(next);
    expect(resident.snapshotBytes).toBeGreaterThan(4 * 1024 * 1024);
    // A turn after each 3 ms of hashing, verifying and copying: more of them on a slower machine.
    expect(turns).toBeGreaterThan(2);
    const served = (key: string): unknown =>
      (decodedOf(ask(host, resident, { flags: 'a', context: { targetingKey: key } })) as { variation: string })
        .variation;
    expect([served('user-0'), served('user-199999'), served('user-200000'), served('user-')]).toEqual([
      'yes',
      'yes',
      'no',
      'no',
    ]);
  });
});
