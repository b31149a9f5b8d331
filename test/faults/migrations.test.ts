import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ControlStore, STORE_FORMAT_VERSION } from '@guidon/control-plane/store/control-store.js';
import { INSTALLATION, keys, type Scope } from '@guidon/control-plane/store/keys.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TemporaryFolder, temporaryFolder } from '../support/guidon-process.js';
import { findFaults } from './check-installation.js';
import { shimEnvironment } from './fault-shim.js';
import { MINIATURE, runWriter, type WriterAnswer } from './miniature.js';
import { readAllRows } from './store-rows.js';

const MIGRATOR = fileURLToPath(new URL('./migrate-store.mjs', import.meta.url));
/** A kill before each so-manyth call on the data file; all of them in the long campaign. */
const STEP = process.env.GUIDON_DEEP === '1' ? 1 : 6;
const CALLS_MAX = 2_000;
const ANSWERS_MIN = 400;

let folder: TemporaryFolder;
let answers: readonly WriterAnswer[];
beforeAll(async () => {
  folder = temporaryFolder('migrations');
  const onAnswer = (kill: () => void, count: number) => void (count >= ANSWERS_MIN && kill());
  ({ answers } = await runWriter({ directory: join(folder.path, 'old'), round: 0, onAnswer }));
  await makeFirstFormat(join(folder.path, 'old', 'store'));
});
afterAll(() => folder.remove());

/** Takes out what formats 2 and 3 have brought. */
async function makeFirstFormat(directory: string): Promise<void> {
  const store = await ControlStore.open({ directory });
  const tenantIds = [...new Set(MINIATURE.map(({ tenantId }) => tenantId))];
  await store.transaction((transaction) => {
    for (const owner of [INSTALLATION, ...tenantIds] satisfies Scope[]) {
      const { peaks: _, ...head } = transaction.find<{ sequence: number; peaks?: string[] }>(keys.auditHead(owner)) ?? {
        sequence: 0,
      };
      if (head.sequence === 0) continue;
      transaction.put(keys.auditHead(owner), head);
      for (let level = 1; transaction.has(keys.auditNode(owner, level, 0)); level += 1) {
        for (let index = 0; transaction.has(keys.auditNode(owner, level, index)); index += 1) {
          transaction.remove(keys.auditNode(owner, level, index));
        }
      }
    }
    for (const environment of MINIATURE) {
      const { oldestRevision: _, ...state } = transaction.find<Record<string, unknown>>(
        keys.environmentState(environment),
      ) ?? { oldestRevision: 0 };
      transaction.put(keys.environmentState(environment), state);
      for (const range of [keys.definitionChanges(environment), keys.definitionNames(environment)]) {
        for (const { key } of transaction.list(range)) transaction.remove(key);
      }
    }
    transaction.put(keys.storeFormat(), { version: 1 });
  });
  await store.close();
}

const formatIn = (rows: ReadonlyMap<string, string>): unknown =>
  JSON.parse(Buffer.from(rows.get('["$","$","format"]')?.slice(8) ?? '', 'hex').toString('utf8')).version;

/** Migrates a copy of the old store under the shim; true when it was killed. */
function migrate(directory: string, killAt: number): boolean {
  cpSync(join(folder.path, 'old'), directory, { recursive: true });
  const { signal, status, stderr } = spawnSync(process.execPath, [MIGRATOR, join(directory, 'store')], {
    env: { ...process.env, ...shimEnvironment({ fault: `any:KILL:${killAt}` }) },
    encoding: 'utf8',
    timeout: 20_000,
  });
  if (signal !== 'SIGKILL' && status !== 0) throw new Error(`the migration ended with ${status}: ${stderr}`);
  return signal === 'SIGKILL';
}

test(
  'a migration that is killed before any of its writes and syncs leaves one format or the next, and is made good by the next start',
  async () => {
    const whole = join(folder.path, 'whole');
    expect(migrate(whole, CALLS_MAX)).toBe(false);
    const formats = new Map<unknown, Map<string, string>>([
      [STORE_FORMAT_VERSION, await readAllRows(join(whole, 'store'))],
    ]);
    expect(formatIn(formats.get(STORE_FORMAT_VERSION) ?? new Map())).toBe(STORE_FORMAT_VERSION);
    expect(await findFaults(whole, MINIATURE, answers)).toEqual([]);
    formats.set(1, await readAllRows(join(folder.path, 'old', 'store')));
    let killedCount = 0;
    const seen = new Set<unknown>();
    for (let killAt = 1; killAt < CALLS_MAX; killAt += STEP) {
      const directory = join(folder.path, `killed-${killAt}`);
      if (!migrate(directory, killAt)) break;
      killedCount += 1;
      const rows = await readAllRows(join(directory, 'store'));
      const format = formatIn(rows);
      seen.add(format);
      // The formats between are known by the first kill that leaves one: all others must be the same.
      if (!formats.has(format)) formats.set(format, rows);
      expect(rows, `killed before call ${killAt}`).toEqual(formats.get(format));
      const store = await ControlStore.open({ directory: join(directory, 'store'), migrations: STORE_MIGRATIONS });
      await store.close();
      expect(await readAllRows(join(directory, 'store'))).toEqual(formats.get(STORE_FORMAT_VERSION));
    }
    expect(killedCount).toBeGreaterThan(4);
    expect([...seen]).toContain(1);
    expect(seen.size).toBeGreaterThan(1);
  },
  CALLS_MAX * 500,
);
