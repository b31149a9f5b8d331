import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import {
  ControlStore,
  type ControlStoreOptions,
  STORE_OPTIONS,
  type StoreTransaction,
} from '@guidon/control-plane/store/control-store.js';
import { GROUP_TRANSACTIONS_MAX } from '@guidon/control-plane/store/group-commit.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { SNAPSHOTS_MAX } from '@guidon/control-plane/store/open-snapshots.js';
import { parseTenantId } from '@guidon/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const { open } = createRequire(import.meta.url)('lmdb') as typeof import('lmdb');
const tenantId = parseTenantId('ten_1');
const row = (name: string) => keys.project(tenantId, name);

let directory: string;
let opened: ControlStore[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-store-'));
  opened = [];
});
afterEach(async () => {
  for (const store of opened) await store.close();
  rmSync(directory, { recursive: true });
});

async function openStore(options: Partial<ControlStoreOptions> = {}): Promise<ControlStore> {
  const store = await ControlStore.open({ directory, mapBytes: 1 << 30, ...options });
  opened.push(store);
  return store;
}

async function closeStore(store: ControlStore): Promise<void> {
  opened.splice(opened.indexOf(store), 1);
  await store.close();
}

/** Changes one row behind the store's back, as another process would. */
async function tamper(key: (string | number)[], change: (value: Record<string, unknown>) => Buffer): Promise<void> {
  const database = open<Buffer>({ path: directory, encoding: 'binary', keyEncoding: 'ordered-binary', maxDbs: 1 });
  const value = JSON.parse(database.get(key)?.subarray(4).toString('utf8') ?? '{}');
  await database.put(key, change(value));
  await database.close();
}

describe('ControlStore.transaction()', () => {
  test('writes all or none: a throw leaves nothing, neighbours in the same batch are kept (I1)', async () => {
    const store = await openStore();
    const results = await Promise.allSettled([
      store.transaction((transaction) => transaction.put(row('a'), 1)),
      store.transaction((transaction) => {
        transaction.put(row('b'), 1);
        transaction.put(row('a'), 2);
        throw new Error('refused');
      }),
      store.transaction((transaction) => {
        transaction.put(row('c'), [transaction.find(row('a')), transaction.find(row('b')) ?? null]);
      }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect([store.find(row('a')), store.find(row('b')), store.find(row('c'))]).toEqual([1, undefined, [1, null]]);
    expect(store.failure).toBeUndefined();
  });

  test('sees its own writes; nobody else does before they are durable (M1)', async () => {
    const store = await openStore();
    let inside: unknown;
    const done = store.transaction((transaction) => {
      transaction.put(row('a'), 'new');
      inside = [
        transaction.find(row('a')),
        transaction.list(keys.projects(tenantId)).length,
        transaction.has(row('a')),
      ];
      transaction.remove(row('a'));
      transaction.put(row('b'), 'kept');
    });
    expect(store.find(row('b'))).toBeUndefined();
    await done;
    expect([inside, store.find(row('a')), store.find(row('b'))]).toEqual([['new', 1, true], undefined, 'kept']);
  });

  test('is there after a reopen', async () => {
    const first = await openStore();
    await first.transaction((transaction) => transaction.put(row('a'), { deep: [1, 'é', null] }));
    await closeStore(first);
    expect((await openStore()).find(row('a'))).toEqual({ deep: [1, 'é', null] });
  });

  test('over the deadline: outcome-unknown, the failure is told once and no write is served any more (I3)', async () => {
    const failures: Error[] = [];
    const store = await openStore({ commitDeadlineMs: 1, onFailure: (error) => failures.push(error) });
    const big = Buffer.alloc(64 * 1024 * 1024, 1);
    const write = store.transaction((transaction) => transaction.putBytes(row('big'), big));
    await expect(write).rejects.toMatchObject({ code: 'outcome-unknown' });
    await expect(store.transaction((transaction) => transaction.put(row('a'), 1))).rejects.toMatchObject({
      code: 'storage-unavailable',
    });
    expect(failures).toHaveLength(1);
    expect(store.failure).toBe(failures[0]);
    expect(() => store.find(row('a'))).not.toThrow();
  });

  test('an event loop that is busy past the deadline is no slow disk: the commit counts (M3)', async () => {
    const failures: Error[] = [];
    const store = await openStore({ commitDeadlineMs: 1_000, onFailure: (error) => failures.push(error) });
    const big = Buffer.alloc(4 * 1024 * 1024, 1);
    const writes = Array.from({ length: 4 }, (_, index) =>
      store.transaction((transaction) => transaction.putBytes(row(`big${index}`), big)),
    );
    const until = performance.now() + 1_500;
    while (performance.now() < until);
    await Promise.all(writes);
    expect([failures, store.findBytes(row('big3'))?.length]).toEqual([[], big.length]);
  });

  test('with too little free space: storage-unavailable before anything is written, reads go on (M4)', async () => {
    const store = await openStore({ freeBytesMin: Number.MAX_SAFE_INTEGER });
    let isCalled = false;
    const write = store.transaction(() => {
      isCalled = true;
    });
    await expect(write).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect([isCalled, store.failure, store.find(row('a'))]).toEqual([false, undefined, undefined]);
  });
});

describe('group commit', () => {
  test('what is staged in one turn is one commit; each transaction sees those before it, nobody else does (I1, M1)', async () => {
    const store = await openStore();
    const first = store.stage((transaction) => transaction.put(row('a'), 1));
    expect(() =>
      store.stage((transaction) => {
        transaction.put(row('a'), 'refused');
        throw new Error('refused');
      }),
    ).toThrow('refused');
    const second = store.stage((transaction) => {
      transaction.put(row('a'), Number(transaction.find(row('a'))) + 1);
      return transaction.find(row('a'));
    });
    expect(second.result).toBe(2);
    expect(second.durable).toBe(first.durable);
    expect([store.find(row('a')), store.has(row('a')), store.list(keys.projects(tenantId))]).toEqual([
      undefined,
      false,
      [],
    ]);
    expect(store.readStaged(() => [store.find(row('a')), store.has(row('a'))])).toEqual([2, true]);
    expect(store.find(row('a'))).toBeUndefined();
    await store.settled();
    expect(store.find(row('a'))).toBe(2);
  });

  test('a draft is seen by nobody, is taken as it is when nothing was staged since, and is run again otherwise (I1, I5)', async () => {
    const store = await openStore();
    const read = () => store.readStaged(() => Number(store.find(row('a')) ?? 0));
    let runs = 0;
    const increment = (transaction: StoreTransaction): number => {
      runs += 1;
      const next = Number(transaction.find(row('a')) ?? 0) + 1;
      transaction.put(row('a'), next);
      return next;
    };
    const first = store.draft(increment);
    expect([first?.result, read(), runs]).toEqual([1, 0, 1]);
    expect(store.stage(increment, first).result).toBe(1);
    expect([read(), runs]).toEqual([1, 1]);

    const late = store.draft(increment);
    expect(store.stage(increment).result).toBe(2);
    expect(store.stage(increment, late).result).toBe(3);
    expect(store.stage(increment, late).result).toBe(4);
    expect([read(), runs]).toEqual([4, 5]);
    await store.settled();
    expect(store.find(row('a'))).toBe(4);
  });

  test('a draft that throws is none, and leaves nothing; what is staged in its place throws by itself', async () => {
    const store = await openStore();
    const refuse = (transaction: StoreTransaction): never => {
      transaction.put(row('a'), 'refused');
      throw new Error('refused');
    };
    const draft = store.draft(refuse);
    expect([draft, store.readStaged(() => store.find(row('a')))]).toEqual([undefined, undefined]);
    expect(() => store.stage(refuse, draft)).toThrow('refused');
    await store.transaction((transaction) => transaction.put(row('b'), 1));
    expect([store.find(row('a')), store.find(row('b'))]).toEqual([undefined, 1]);
  });

  test('a list with staged rows is the list that it will be when they are durable', async () => {
    const store = await openStore();
    await store.transaction((transaction) => {
      for (const name of ['b', 'd', 'f', 'h']) transaction.put(row(name), name);
      transaction.put(keys.role(tenantId, 'c'), 'of another noun');
    });
    const { durable } = store.stage((transaction) => {
      for (const name of ['a', 'd', 'g']) transaction.put(row(name), `${name}-staged`);
      for (const name of ['b', 'h', 'nothing']) transaction.remove(row(name));
    });
    const lists = () =>
      [
        {},
        { limit: 2 },
        { limit: 1, after: 'a' },
        { after: 'd' },
        { after: 'c' },
        { reverse: true },
        { reverse: true, limit: 2 },
        { reverse: true, after: 'f' },
        { reverse: true, after: 'g', limit: 1 },
      ].map((options) => store.list(keys.projects(tenantId), options));
    const staged = store.readStaged(lists);
    expect(staged[0]?.map(({ value }) => value)).toEqual(['a-staged', 'd-staged', 'f', 'g-staged']);
    expect(lists()).not.toEqual(staged);
    await durable;
    expect(lists()).toEqual(staged);
  });

  test('numbers in keys are listed in their order, staged or not', async () => {
    const store = await openStore();
    await store.transaction((transaction) => transaction.put(keys.audit(tenantId, 9), 9));
    const { durable } = store.stage((transaction) => {
      for (const sequence of [10, 100, 2]) transaction.put(keys.audit(tenantId, sequence), sequence);
    });
    const values = () => store.list(keys.auditEntries(tenantId), { after: 2 }).map(({ value }) => value);
    expect(store.readStaged(values)).toEqual([9, 10, 100]);
    await durable;
    expect(values()).toEqual([9, 10, 100]);
  });

  test('a commit that fails fails for all that are in it, and nothing of them is seen (I1, I6)', async () => {
    const store = await openStore();
    await tamper(['$', '$', 'writer'], (value) => withCrc({ ...value, epoch: Number(value.epoch) + 1 }));
    const writes = ['a', 'b'].map((name) => store.transaction((transaction) => transaction.put(row(name), 1)));
    for (const write of writes) await expect(write).rejects.toMatchObject({ code: 'storage-unavailable' });
    await expect(store.settled()).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(store.readStaged(() => [store.find(row('a')), store.find(row('b'))])).toEqual([undefined, undefined]);
  });

  test('so many transactions wait at most; the next is refused and changes nothing (I25)', async () => {
    const store = await openStore();
    const writes = Array.from({ length: GROUP_TRANSACTIONS_MAX }, (_, index) =>
      store.transaction((transaction) => transaction.put(row(`r${index}`), index)),
    );
    const next = store.transaction((transaction) => transaction.put(row('next'), 1));
    await expect(next).rejects.toMatchObject({ code: 'overloaded' });
    await Promise.all(writes);
    expect([store.find(row('next')), store.list(keys.projects(tenantId)).length]).toEqual([
      undefined,
      GROUP_TRANSACTIONS_MAX,
    ]);
  });

  test('a key that LMDB would refuse is refused alone', async () => {
    const store = await openStore();
    const fine = store.transaction((transaction) => transaction.put(row('a'), 1));
    await expect(store.transaction((transaction) => transaction.put(row('x'.repeat(2_000)), 1))).rejects.toThrow();
    await fine;
    expect([store.find(row('a')), store.failure]).toEqual([1, undefined]);
  });
});

describe('ControlStore.openSnapshot()', () => {
  test('shows one moment until it is closed', async () => {
    const store = await openStore();
    await store.transaction((transaction) => transaction.put(row('a'), { n: 1 }));
    const snapshot = store.openSnapshot();
    await store.transaction((transaction) => transaction.put(row('a'), { n: 2 }));
    expect(snapshot.find(row('a'))).toEqual({ n: 1 });
    snapshot.close();
    expect(() => snapshot.find(row('a'))).toThrow(expect.objectContaining({ code: 'timeout' }));
  });

  test('closes by itself after its time, so that whoever reads slowly pins no page (M7)', async () => {
    const store = await openStore({ snapshotMsMax: 50 });
    await store.transaction((transaction) => transaction.put(row('a'), { n: 1 }));
    const snapshot = store.openSnapshot();
    const isOver = (): boolean => {
      try {
        return snapshot.find(row('a')) === undefined;
      } catch {
        return true;
      }
    };
    await expect.poll(isOver, { timeout: 10_000 }).toBe(true);
    // Nobody has closed it: were it still open, no page would be used twice.
    const fileBytes = () => statSync(join(directory, 'data.mdb')).size;
    const before = fileBytes();
    for (let round = 0; round < 100; round += 1) {
      await store.transaction((transaction) => transaction.putBytes(row('b'), Buffer.alloc(64 * 1024, round)));
    }
    expect(fileBytes() - before).toBeLessThan(2 * 1024 * 1024);
    snapshot.close();
  });

  test('so many are open at most, and closing the store closes them (I25)', async () => {
    const store = await openStore();
    const snapshots = Array.from({ length: SNAPSHOTS_MAX }, () => store.openSnapshot());
    expect(() => store.openSnapshot()).toThrow(expect.objectContaining({ code: 'overloaded' }));
    snapshots[0]?.close();
    const last = store.openSnapshot();
    await closeStore(store);
    expect(() => last.find(row('a'))).toThrow(expect.objectContaining({ code: 'timeout' }));
    last.close();
  });
});

describe('ControlStore.open()', () => {
  test('opens so that a read never shows what is not durable (M1, M2)', () => {
    expect(STORE_OPTIONS).toMatchObject({ overlappingSync: false, encoding: 'binary' });
  });

  test('refuses a directory that is open already', async () => {
    await openStore();
    await expect(ControlStore.open({ directory })).rejects.toMatchObject({ code: 'storage-unavailable' });
  });

  test('takes over from a process that was killed, whose pid may be used again', async () => {
    for (const holder of [`999999999 1`, `${process.pid} 1`, '', 'garbage']) {
      writeFileSync(join(directory, 'writer.lock'), holder);
      await closeStore(await openStore());
    }
  });

  test('takes over from a process that was killed and whose parent never asked how', async () => {
    // The shell becomes a sleep, which asks nobody: its child stays a zombie with its pid and start time.
    const parent = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 20'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer];
      const pid = Number(line.toString('utf8'));
      const fields = (): string[] => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      const deadlineMs = performance.now() + 5_000;
      while (fields()[0] !== 'Z' && performance.now() < deadlineMs) await sleep(5);
      expect(fields()[0]).toBe('Z');
      writeFileSync(join(directory, 'writer.lock'), `${pid} ${fields()[19]}`);
      await closeStore(await openStore());
    } finally {
      parent.kill('SIGKILL');
    }
  });

  test('a writer that was overtaken writes nothing more (I6)', async () => {
    const failures: Error[] = [];
    const store = await openStore({ onFailure: (error) => failures.push(error) });
    await tamper(['$', '$', 'writer'], (value) => withCrc({ ...value, epoch: Number(value.epoch) + 1 }));
    const write = store.transaction((transaction) => transaction.put(row('a'), 1));
    await expect(write).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect([failures.length, store.find(row('a'))]).toEqual([1, undefined]);
  });

  test('refuses a newer format and says so', async () => {
    await closeStore(await openStore());
    await tamper(['$', '$', 'format'], () => withCrc({ version: 999 }));
    await expect(openStore()).rejects.toThrow(/format 999/);
    await expect(openStore()).rejects.toThrow(/format 999/);
  });

  test('refuses an empty, cut or foreign file instead of crashing on it or taking it for a first start (M5, I13)', async () => {
    await closeStore(await openStore());
    const file = join(directory, 'data.mdb');
    const whole = readFileSync(file);
    for (const damage of [
      () => truncateSync(file, 0),
      () => truncateSync(file, 4_096),
      () => truncateSync(file, whole.length - 1),
      () => writeFileSync(file, Buffer.alloc(whole.length)),
      () => writeFileSync(file, Buffer.concat([whole.subarray(0, 4_096), Buffer.alloc(whole.length - 4_096, 0xff)])),
    ]) {
      damage();
      await expect(openStore()).rejects.toMatchObject({ code: 'storage-unavailable' });
      writeFileSync(file, whole);
    }
    await openStore();
  });

  test('a flipped bit in a row is found, not served (M5)', async () => {
    const store = await openStore();
    await store.transaction((transaction) => transaction.put(row('a'), { name: 'correct' }));
    await closeStore(store);
    await tamper([...row('a')], (value) => {
      const bytes = withCrc(value);
      bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1;
      return bytes;
    });
    const again = await openStore();
    expect(() => again.find(row('a'))).toThrow(/damaged/);
  });
});

function withCrc(value: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(value));
  const bytes = Buffer.alloc(4 + text.length);
  bytes.writeUInt32LE(crc32(text), 0);
  text.copy(bytes, 4);
  return bytes;
}
