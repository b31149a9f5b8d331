import { mkdtemp, open, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RowStore } from '@guidon/server/snapshot-store/row-store.js';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const logger = pino({ level: 'silent' });
let directory = '';
let parent = '';

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'row-store-'));
  directory = join(parent, 'rows');
});
afterEach(() => rm(parent, { recursive: true, force: true }));

const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes).toString());
const row = (...key: string[]) => ({ key, value: Buffer.from(key.join('/')) });

async function filled(): Promise<void> {
  const store = await RowStore.open(directory, 'sole', logger);
  const rows = Array.from({ length: 500 }, (_, index) => ({
    key: ['t', 'e', 'block', `block-${index}`],
    value: Buffer.alloc(3_000, index),
  }));
  await store.commit([row('t', 'e', 'state'), row('t', 'f', 'state'), row('', 'trust')], rows);
  await store.close();
}

describe('RowStore', () => {
  it('commit() writes and removes, durable across a reopen', async () => {
    const store = await RowStore.open(directory, 'sole', logger);
    expect(await store.commit([row('t', 'e', 'a'), row('t', 'e', 'b')], [row('t', 'e', 'c')])).toBe(true);
    expect(await store.commit([{ key: ['t', 'e', 'a'] }])).toBe(true);
    await store.close();
    const again = await RowStore.open(directory, 'sole', logger);
    expect(again.find(['t', 'e', 'a'])).toBeUndefined();
    expect(text(again.find(['t', 'e', 'b']))).toBe('t/e/b');
    expect(text(again.find(['t', 'e', 'c']))).toBe('t/e/c');
    await again.close();
  });

  it('list() stays within its prefix (I16)', async () => {
    const store = await RowStore.open(directory, 'sole', logger);
    await store.commit([
      row('t', 'e', 'x', '1'),
      row('t', 'e', 'xy', '1'),
      row('t', 'e2', 'x', '1'),
      row('t', 'e', 'x', '2'),
    ]);
    expect(store.list(['t', 'e', 'x'])).toEqual([
      ['t', 'e', 'x', '1'],
      ['t', 'e', 'x', '2'],
    ]);
    await store.close();
  });

  it('what a failed commit held is read from memory, in order, and written with the next one', async () => {
    const store = await RowStore.open(directory, 'sole', logger);
    await store.commit([row('t', 'e', 'old')]);
    // A key that LMDB cannot take makes the whole batch fail, as a full disk does.
    const tooLong = { key: ['t', 'e', 'x'.repeat(5_000)], value: Buffer.from('x') };
    expect(await store.commit([row('t', 'e', 'new'), { key: ['t', 'e', 'old'] }, tooLong])).toBe(false);
    expect(store.status).toBe('degraded');
    expect(text(store.find(['t', 'e', 'new']))).toBe('t/e/new');
    expect(store.find(['t', 'e', 'old'])).toBeUndefined();
    expect(store.list(['t', 'e', 'new'])).toEqual([['t', 'e', 'new']]);
    await store.close();
  });

  it('the commits of a writer that another one has followed change nothing (I6)', async () => {
    const first = await RowStore.open(directory, 'writer', logger);
    expect(await first.commit([row('t', 'e', 'state')])).toBe(true);
    const second = await RowStore.open(directory, 'writer', logger);
    expect(await second.commit([row('t', 'e', 'second')])).toBe(true);
    expect(await first.commit([{ key: ['t', 'e', 'state'], value: Buffer.from('late') }, row('t', 'e', 'late')])).toBe(
      false,
    );
    expect(first.status).toBe('broken');
    expect(second.status).toBe('healthy');
    expect(text(second.find(['t', 'e', 'state']))).toBe('t/e/state');
    expect(second.find(['t', 'e', 'late'])).toBeUndefined();
    expect(await second.commit([row('t', 'e', 'again')])).toBe(true);
    await second.close();
    await first.close();
  });

  it('of two writers that start at once one writes', async () => {
    const stores = await Promise.all([1, 2].map(() => RowStore.open(directory, 'writer', logger)));
    const written = await Promise.all(stores.map((store, index) => store.commit([row('t', 'e', `by-${index}`)])));
    expect(written.filter(Boolean)).toHaveLength(1);
    await Promise.all(stores.map((store) => store.close()));
  });

  it('a reader cannot write', async () => {
    const writer = await RowStore.open(directory, 'writer', logger);
    const reader = await RowStore.open(directory, 'reader', logger);
    expect(() => reader.commit([row('t', 'e', 'x')])).toThrow('only the writer writes');
    expect(writer.find(['t', 'e', 'x'])).toBeUndefined();
    await reader.close();
    await writer.close();
  });

  it('what comes and goes while the disk takes nothing leaves nothing behind', async () => {
    const store = await RowStore.open(directory, 'sole', logger);
    await store.commit([row('t', 'e', 'old')]);
    const tooLong = { key: ['t', 'e', 'x'.repeat(5_000)], value: Buffer.from('x') };
    await store.commit([tooLong, { key: ['t', 'e', 'old'] }]);
    for (let round = 0; round < 50; round += 1) {
      await store.commit([row('t', 'e', `block-${round}`), { key: ['t', 'e', `block-${round - 1}`] }]);
    }
    expect(store.unwrittenCount).toBe(3);
    expect(store.list(['t', 'e', 'block-49'])).toHaveLength(1);
    expect(store.find(['t', 'e', 'block-48'])).toBeUndefined();
    expect(store.find(['t', 'e', 'old'])).toBeUndefined();
    await store.close();
  });

  it.each([
    ['empty', async (file: string) => truncate(file, 0)],
    ['cut in the middle of a page', async (file: string) => truncate(file, 10_000)],
    ['cut at a page', async (file: string) => truncate(file, 40_960)],
    ['garbage', async (file: string) => writeFile(file, Buffer.alloc(81_920, 0xab))],
    ['without its first meta page', async (file: string) => zero(file, 0, 4_096)],
    ['without its second meta page', async (file: string) => zero(file, 4_096, 4_096)],
    ['garbage behind its meta pages', async (file: string) => zero(file, 8_192, (await stat(file)).size - 8_192, 0xff)],
  ])('open() sets a file aside that is %s, and starts empty (M5)', async (_name, damage) => {
    await filled();
    await damage(join(directory, 'data.mdb'));
    const store = await RowStore.open(directory, 'sole', logger);
    expect(store.find(['t', 'e', 'state'])).toBeUndefined();
    expect(await store.commit([row('t', 'e', 'state')])).toBe(true);
    await store.close();
    expect((await readdir(parent)).filter((name) => name.startsWith('rows.damaged-'))).toHaveLength(1);
  });

  it('open() keeps a file that is whole', async () => {
    await filled();
    const store = await RowStore.open(directory, 'sole', logger);
    expect(text(store.find(['t', 'e', 'state']))).toBe('t/e/state');
    expect(store.list(['t', 'e', 'block'])).toHaveLength(500);
    await store.close();
    expect(await readdir(parent)).toEqual(['rows']);
  });
});

async function zero(file: string, offset: number, byteCount: number, value = 0): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(Buffer.alloc(byteCount, value), 0, byteCount, offset);
  await handle.close();
}
