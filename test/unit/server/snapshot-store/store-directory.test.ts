import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RowStore } from '@guidon/server/snapshot-store/row-store.js';
import { prepareStoreDirectory, quarantineStore } from '@guidon/server/snapshot-store/store-directory.js';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const logger = pino({ level: 'silent' });
let parent = '';
let directory = '';

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'store-directory-'));
  directory = join(parent, 'rows');
  const store = await RowStore.open(directory, 'sole', logger);
  await store.commit([{ key: ['t', 'e', 'state'], value: Buffer.from('last good') }]);
  await store.close();
});
afterEach(() => rm(parent, { recursive: true, force: true }));

async function state(): Promise<string | undefined> {
  const store = await RowStore.open(directory, 'sole', logger);
  const value = store.find(['t', 'e', 'state']);
  await store.close();
  return value === undefined ? undefined : Buffer.from(value).toString();
}

describe('prepareStoreDirectory()', () => {
  it('keeps the store when the probe cannot be started, as without memory or processes (I12)', async () => {
    await prepareStoreDirectory(directory, logger, { execPath: join(parent, 'no-such-program') });
    expect(await readdir(parent)).toEqual(['rows']);
    expect(await state()).toBe('last good');
  });

  it('keeps the store when the probe is slow', async () => {
    await prepareStoreDirectory(directory, logger, { deadlineMs: 1 });
    expect(await readdir(parent)).toEqual(['rows']);
    expect(await state()).toBe('last good');
  });

  it('sets the store aside when the probe ends badly (M5)', async () => {
    // A program that fails whatever it is asked to read.
    await prepareStoreDirectory(directory, logger, { execPath: '/bin/false' });
    expect((await readdir(parent)).filter((name) => name.startsWith('rows.damaged-'))).toHaveLength(1);
    expect(await state()).toBeUndefined();
  });

  it('keeps the newest three damaged stores', async () => {
    for (const age of [9, 10, 11, 12]) await writeFile(join(parent, `rows.damaged-${age}`), '');
    quarantineStore(directory, 'a test', logger);
    const damaged = (await readdir(parent)).filter((name) => name.startsWith('rows.damaged-'));
    expect(damaged).toHaveLength(3);
    expect(damaged).toEqual(expect.arrayContaining(['rows.damaged-11', 'rows.damaged-12']));
  });
});
