import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SYSTEM_ACTOR } from '@guidon/control-plane/admin-api/actor.js';
import { Committer } from '@guidon/control-plane/commit/committer.js';
import { Feed } from '@guidon/control-plane/feed/feed.js';
import { Bisection } from '@guidon/control-plane/revisions/bisection.js';
import { readContext } from '@guidon/control-plane/revisions/evaluate-input.js';
import { PastDefinitions } from '@guidon/control-plane/revisions/past-definitions.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import type { Definition } from '@guidon/engine';
import { CompilePool } from '@guidon/pool';
import { parseEnvironmentRef } from '@guidon/protocol';
import { generateSigningKey } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';

const environment = parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: 'env_1' });
const pool = new CompilePool({ threadCount: 1 });
const NEWEST = 150;
let directory: string;
let store: ControlStore;

/** Revision 2 makes the flags; every other one toggles `asked` when it is even and `beside` when it is odd. */
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-bisection-'));
  store = await ControlStore.open({ directory, mapBytes: 1 << 30 });
  await store.transaction((transaction) => transaction.put(keys.tenant(environment.tenantId), { version: 1 }));
  const committer = new Committer({
    store,
    feed: new Feed(store),
    pool,
    signingKeys: { signingKey: generateSigningKey() },
    now: () => 1,
    onCommitted: () => {},
    assertMayServe: () => {},
  });
  const commit = (definitions: readonly Definition[], isNew = false) =>
    committer.commit({ actor: SYSTEM_ACTOR, requestId: 'r', dryRun: false }, { ...environment }, () => ({
      owner: environment.tenantId,
      action: 'flag.update',
      subject: 'x',
      summary: 'x',
      before: undefined,
      after: undefined,
      records: [],
      environments: [{ environment, definitions: definitions.map((put) => ({ put })), isNew }],
      reply: () => ({ status: 200, body: {} }),
    }));
  await commit([], true);
  await commit([aFlag('asked'), aFlag('beside', { on: false })]);
  for (let revision = 3; revision <= NEWEST; revision += 1) {
    await commit([aFlag(revision % 2 === 0 ? 'asked' : 'beside', { on: revision % 4 > 1 })]);
  }
});
afterAll(async () => {
  await pool.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

const run = (from: number, to: number, options: { stepsMax?: number } = {}) =>
  new Bisection({
    past: new PastDefinitions(store, environment),
    pool,
    context: readContext({ targetingKey: 'u' }),
    flag: 'asked',
    now: 1,
    ...options,
  }).run(from, to);

const revisionsOf = ({ changes }: Awaited<ReturnType<typeof run>>) => changes.map(({ revision }) => revision);
const even = (from: number, to: number) =>
  Array.from({ length: to }, (_, index) => index + 1).filter((revision) => revision >= from && revision % 2 === 0);

test('goes over batches, evaluates no revision that changed something else', async () => {
  const found = await run(1, NEWEST);
  // Revision 4 turned the flag off, which 2 had on; from there on each even one turns it.
  expect(revisionsOf(found)).toEqual(even(2, NEWEST));
  expect([found.evaluatedCount, found.nextFrom]).toEqual([76, null]);
  expect(found.first).toMatchObject({ errorCode: 'FLAG_NOT_FOUND' });
});

test('stops at its bound and says where to go on; what is put together is everything', async () => {
  const all: number[] = [];
  let from: number | null = 1;
  let requests = 0;
  while (from !== null) {
    const found: Awaited<ReturnType<typeof run>> = await run(from, NEWEST, { stepsMax: 10 });
    expect(found.evaluatedCount).toBeLessThanOrEqual(10);
    all.push(...revisionsOf(found));
    from = found.nextFrom;
    requests += 1;
  }
  expect(all).toEqual(even(2, NEWEST));
  expect(requests).toBe(9);
});

test('one revision alone is its answer and no change', async () => {
  expect(await run(7, 7)).toMatchObject({ changes: [], evaluatedCount: 1, nextFrom: null, first: { value: 'no' } });
  expect(revisionsOf(await run(7, 8))).toEqual([8]);
});
