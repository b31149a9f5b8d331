import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlStore, type StoreTransaction } from '@guidon/control-plane/store/control-store.js';
import { GROUP_BYTES_MAX } from '@guidon/control-plane/store/group-commit.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { encodeRecord } from '@guidon/control-plane/store/record-codec.js';
import { Row } from '@guidon/control-plane/store/row.js';
import { RowCache } from '@guidon/control-plane/store/row-cache.js';
import { nameOf } from '@guidon/control-plane/store/staged-rows.js';
import { parseTenantId } from '@guidon/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const tenantId = parseTenantId('ten_1');
const key = (name: string) => keys.project(tenantId, name);
const rowOf = (name: string, value: unknown) => new Row(key(name), nameOf(key(name)), encodeRecord(value));

let directory: string;
let store: ControlStore;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-rows-'));
  store = await ControlStore.open({ directory, mapBytes: 1 << 30 });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Numbers that are the same in every run. */
function* randomFrom(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

describe('ControlStore.find()', () => {
  test('says what lists say, which read the file, after any order of writes and reads', async () => {
    const random = randomFrom(20_261_123);
    const next = (count: number): number => Math.floor((random.next().value ?? 0) * count);
    const names = Array.from({ length: 12 }, (_, index) => `p${index}`);
    const listed = () => new Map(store.list<object>(keys.projects(tenantId)).map((row) => [row.key.at(-1), row.value]));
    const assertSame = (): void => {
      const all = listed();
      for (const name of names) {
        expect(store.find(key(name))).toEqual(all.get(name));
        expect(store.has(key(name))).toBe(all.has(name));
      }
    };
    const change = (transaction: StoreTransaction): void => {
      for (let count = next(4); count >= 0; count -= 1) {
        const name = names[next(names.length)] ?? '';
        if (next(3) === 0) transaction.remove(key(name));
        else transaction.put(key(name), { name, n: next(1_000) });
      }
    };
    const waiting: Promise<void>[] = [];
    for (let step = 0; step < 400; step += 1) {
      const { durable } = store.stage((transaction) => {
        change(transaction);
        assertSame();
        if (next(4) === 0) change(transaction);
      });
      waiting.push(durable);
      if (next(2) === 0) store.readStaged(assertSame);
      if (next(2) === 0) assertSame();
      if (next(3) === 0) await Promise.all(waiting.splice(0));
    }
    await Promise.all(waiting);
    assertSame();
  });

  test('shows the old row until the new one is durable, however it was read meanwhile (M1)', async () => {
    await store.transaction((transaction) => transaction.put(key('a'), { n: 1 }));
    expect(store.find(key('a'))).toEqual({ n: 1 });
    const { durable } = store.stage((transaction) => transaction.put(key('a'), { n: 2 }));
    expect([store.readStaged(() => store.find(key('a'))), store.find(key('a'))]).toEqual([{ n: 2 }, { n: 1 }]);
    await durable;
    expect(store.find(key('a'))).toEqual({ n: 2 });
  });

  test('what it answers is shared, so nobody can change it', async () => {
    await store.transaction((transaction) => transaction.put(key('a'), { tags: ['x'], of: { n: 1 } }));
    const found = store.find<{ tags: string[]; of: { n: number } }>(key('a'));
    expect(store.find(key('a'))).toBe(found);
    expect(() => found?.tags.push('y')).toThrow(TypeError);
    expect(() => Object.assign(found?.of ?? {}, { n: 2 })).toThrow(TypeError);
  });

  test('a row that is not what was written is not the caller’s object', async () => {
    const value = { n: 1, left: undefined };
    await store.transaction((transaction) => {
      transaction.put(key('a'), value);
      value.n = 2;
      expect(transaction.find(key('a'))).toEqual({ n: 1 });
    });
    expect(Object.hasOwn(store.find<object>(key('a')) ?? {}, 'left')).toBe(false);
  });
});

describe('ControlStore.stage()', () => {
  test('so many bytes wait at most; one transaction may pass the bound, the next is refused (I25)', async () => {
    const large = Buffer.alloc(GROUP_BYTES_MAX / 2 + 1);
    const puts = ['a', 'b'].map((name) => store.transaction((transaction) => transaction.putBytes(key(name), large)));
    const next = store.transaction((transaction) => transaction.put(key('c'), 1));
    await expect(next).rejects.toMatchObject({ code: 'overloaded' });
    await Promise.all(puts);
    await store.transaction((transaction) => transaction.put(key('c'), 2));
    expect(store.find(key('c'))).toBe(2);
  });
});

describe('RowCache', () => {
  test('forgets what was asked for longest ago when it is full, and never keeps a large row', () => {
    const cache = new RowCache();
    const text = 'x'.repeat(64 * 1024);
    const names = Array.from({ length: 400 }, (_, index) => `r${index}`);
    cache.put(rowOf('kept', 1));
    let count = 0;
    for (const name of names) {
      cache.put(rowOf(name, text));
      if (cache.find(nameOf(key('kept'))) !== undefined) count += 1;
    }
    expect(count).toBe(names.length);
    const kept = names.filter((name) => cache.find(nameOf(key(name))) !== undefined);
    expect(kept.at(-1)).toBe('r399');
    expect(kept.length).toBeLessThanOrEqual(256);
    cache.put(rowOf('large', 'x'.repeat(300 * 1024)));
    expect(cache.find(nameOf(key('large')))).toBeUndefined();
  });

  test('a row keeps no bytes but its own, whether it was written or read', async () => {
    const { stored } = rowOf('a', { n: 1 });
    expect(stored?.buffer.byteLength).toBe(stored?.length);
    await store.transaction((transaction) => transaction.putBytes(key('a'), Buffer.alloc(100)));
    await store.close();
    store = await ControlStore.open({ directory, mapBytes: 1 << 30 });
    expect(store.findBytes(key('a'))?.buffer.byteLength).toBe(104);
  });

  test('a removed row is not there, in whichever generation it was', () => {
    const cache = new RowCache();
    cache.put(rowOf('a', 1));
    cache.put(new Row(key('a'), nameOf(key('a')), undefined));
    expect(cache.find(nameOf(key('a')))).toBeUndefined();
  });
});
