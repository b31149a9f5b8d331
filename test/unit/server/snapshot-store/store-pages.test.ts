import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEnvironment } from '@guidon/server/snapshot-store/lmdb-environment.js';
import { findDamage } from '@guidon/server/snapshot-store/store-pages.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../support/seeded-random.js';

const PAGE_BYTES = 4_096;
const SEED = 20_261_123;
let folder = '';
let file = '';
/** A store with long and short rows, holes between them, and a list of free pages. */
let whole = Buffer.alloc(0);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'store-pages-'));
  file = join(folder, 'data.mdb');
  const random = new SeededRandom(SEED);
  for (let session = 0; session < 4; session += 1) {
    const database = openEnvironment(folder);
    for (let round = 0; round < 12; round += 1) {
      await database.transaction(() => {
        for (let count = random.between(1, 40); count > 0; count -= 1) {
          const key = ['row', String(random.between(0, 600))];
          const bytes = random.between(0, 7) === 0 ? random.between(5_000, 40_000) : random.between(0, 400);
          if (random.between(0, 2) === 0) void database.remove(key);
          else void database.put(key, Buffer.alloc(bytes, random.between(0, 255)));
        }
      });
      expect(findDamage(file), `session ${session}, round ${round}`).toBeUndefined();
    }
    await database.close();
    expect(findDamage(file), `session ${session}`).toBeUndefined();
  }
  whole = readFileSync(file);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What is said of the file after `change`. */
function damageOf(change: (bytes: Buffer) => Buffer | undefined): string | undefined {
  const copy = Buffer.from(whole);
  const path = join(folder, 'changed.mdb');
  writeFileSync(path, change(copy) ?? copy);
  return findDamage(path);
}

/** Offset of the newest meta's body in the file, where the layout of store-pages.ts counts from. */
function newestMeta(): number {
  return whole.readBigUInt64LE(152) > whole.readBigUInt64LE(PAGE_BYTES + 152) ? 0 : PAGE_BYTES;
}

/** A leaf of the list of free pages: where it begins in the file. */
function freeLeaf(): number {
  let page = Number(whole.readBigUInt64LE(newestMeta() + 48 + 40));
  while (whole.readUInt16LE(page * PAGE_BYTES + 18) === 1) {
    const node = page * PAGE_BYTES + 24 + whole.readUInt16LE(page * PAGE_BYTES + 24);
    page = whole.readUIntLE(node, 6);
  }
  return page * PAGE_BYTES;
}

/** Commits to the store in the folder that it is given, until it is ended. */
const WRITER = `
  const { open } = require('lmdb');
  const database = open({ path: process.argv[1], encoding: 'binary', overlappingSync: false, eventTurnBatching: false });
  const put = () => void database.put(['row', String(Math.floor(Math.random() * 600))], Buffer.alloc(Math.random() < 0.15 ? 20000 : 300));
  (async () => {
    for (let round = 0; ; round += 1) {
      await database.transaction(() => Array.from({ length: 30 }).forEach(put));
      if (round === 50) console.log('begun');
    }
  })();`;

describe('findDamage()', () => {
  test('finds none in a store that another process writes to: it would be taken away from under it (I12)', async () => {
    const own = await mkdtemp(join(tmpdir(), 'store-pages-'));
    const writer = spawn(process.execPath, ['-e', WRITER, own], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(writer.stdout, 'data');
    const found = Array.from({ length: 500 }, () => findDamage(join(own, 'data.mdb')));
    writer.kill('SIGKILL');
    await once(writer, 'exit');
    await rm(own, { recursive: true });
    expect(found.filter((damage) => damage !== undefined)).toEqual([]);
  });

  test('finds a list of free pages that is damaged, which a reader of all rows does not (M5)', () => {
    const leaf = freeLeaf();
    expect(damageOf((bytes) => void bytes.fill(0, leaf, leaf + PAGE_BYTES))).toMatch(/^page \d+ says/);
    expect(damageOf((bytes) => void bytes.fill(0, leaf + 24, leaf + PAGE_BYTES))).toBe(
      `page ${leaf / PAGE_BYTES} has no plan`,
    );
  });

  test('finds a page that is free and in use: it would be written over', () => {
    const leaf = freeLeaf();
    const node = leaf + 24 + whole.readUInt16LE(leaf + 24);
    const list = node + 8 + whole.readUInt16LE(node + 6);
    const root = whole.readBigUInt64LE(newestMeta() + 96 + 40);
    expect(whole.readUInt16LE(node + 4) & 1, 'the list lies in its leaf').toBe(0);
    expect(
      damageOf((bytes) => void bytes.writeBigInt64LE(root, list + Number(whole.readBigUInt64LE(list)) * 8)),
    ).toMatch(/there twice|none of the file/);
    expect(damageOf((bytes) => void bytes.writeBigUInt64LE(1n << 60n, list))).toBe('the list of free pages is damaged');
  });

  test('finds a file that is cut, empty, or of something else', () => {
    expect(damageOf(() => Buffer.alloc(0))).toBe('the file is empty');
    expect(damageOf((bytes) => bytes.subarray(0, bytes.length - 1))).toBe('the file is cut');
    expect(damageOf((bytes) => bytes.subarray(0, 3 * PAGE_BYTES))).toBe('pages are missing at the end');
    expect(damageOf((bytes) => void bytes.fill(0, 24, 28))).toBe('meta page 0 is not one');
    expect(damageOf((bytes) => void bytes.writeUInt32LE(8_192, PAGE_BYTES + 48))).toBe(
      'meta page 1 names another page size',
    );
  });

  test(`500 random damages of plans (seed ${SEED}) are told in words or harm nothing that is walked, and never thrown`, () => {
    const random = new SeededRandom(SEED);
    const pageCount = whole.length / PAGE_BYTES;
    const planned = Array.from({ length: pageCount }, (_, page) => page * PAGE_BYTES).filter((offset) =>
      [1, 2].includes(whole.readUInt16LE(offset + 18)),
    );
    const path = join(folder, 'changed.mdb');
    writeFileSync(path, whole);
    const changed = openSync(path, 'r+');
    let foundCount = 0;
    for (let round = 0; round < 500; round += 1) {
      const offset = random.pick(planned) + random.between(0, round % 2 === 0 ? 40 : PAGE_BYTES - 16);
      const bytes = Buffer.from(Array.from({ length: random.between(1, 16) }, () => random.between(0, 255)));
      writeSync(changed, bytes, 0, bytes.length, offset);
      if (findDamage(path) !== undefined) foundCount += 1;
      writeSync(changed, whole, offset, bytes.length, offset);
    }
    closeSync(changed);
    expect(foundCount).toBeGreaterThan(100);
    expect(findDamage(path)).toBeUndefined();
  });
});
