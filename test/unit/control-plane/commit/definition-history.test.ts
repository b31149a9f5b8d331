import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SYSTEM_ACTOR } from '@guidon/control-plane/admin-api/actor.js';
import type { DefinitionChange } from '@guidon/control-plane/commit/change.js';
import { Committer } from '@guidon/control-plane/commit/committer.js';
import {
  assertKept,
  findEntryAt,
  findNextChange,
  type HistoryRetention,
  namesTouchedBetween,
} from '@guidon/control-plane/commit/definition-history.js';
import type { EnvironmentStateRow, RevisionRow } from '@guidon/control-plane/commit/definition-store.js';
import { readDefinitionBytes } from '@guidon/control-plane/commit/environment-workspace.js';
import { rebuildHistory } from '@guidon/control-plane/commit/rebuild-history.js';
import { Feed } from '@guidon/control-plane/feed/feed.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { type Definition, definitionKey } from '@guidon/engine';
import { CompilePool } from '@guidon/pool';
import { parseEnvironmentRef } from '@guidon/protocol';
import { generateSigningKey } from '@guidon/protocol/signed-config';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { aChunk, aFlag, aSegment } from '../../../support/flag-sets.js';

const environment = parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: 'env_1' });
const pool = new CompilePool({ threadCount: 1 });
let directory: string;
let store: ControlStore;
let now = 0;
let committer: Committer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-history-'));
  store = await ControlStore.open({ directory, mapBytes: 1 << 30 });
  await store.transaction((transaction) => transaction.put(keys.tenant(environment.tenantId), { version: 1 }));
  now = 1_000;
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});
afterAll(() => pool.close());

function commitWith(retention?: HistoryRetention) {
  committer = new Committer({
    store,
    feed: new Feed(store),
    pool,
    signingKeys: { signingKey: generateSigningKey() },
    now: () => now,
    onCommitted: () => {},
    assertMayServe: () => {},
    retention,
  });
  return (definitions: readonly DefinitionChange[], isNew = false) =>
    committer.commit({ actor: SYSTEM_ACTOR, requestId: 'r', dryRun: false }, { ...environment }, () => ({
      owner: environment.tenantId,
      action: 'flag.update',
      subject: 'x',
      summary: 'x',
      before: undefined,
      after: undefined,
      records: [],
      environments: [{ environment, definitions, isNew }],
      reply: () => ({ status: 200, body: {} }),
    }));
}

/** Everything served, as `kind/key hash`, by a model that is told each change. */
class Model {
  readonly #served = new Map<string, string>();
  readonly revisions: (readonly string[])[] = [[]];
  note(row: RevisionRow): void {
    for (const { kind, key, hash } of row.changed) this.#served.set(`${kind} ${key}`, hash);
    for (const [kind, key] of row.removed) this.#served.delete(`${kind} ${key}`);
    this.revisions[row.revision] = [...this.#served].map(([name, hash]) => `${name} ${hash}`).sort();
  }
}

/** The same, read from history; every byte is read and checked against its hash. */
function servedAt(revision: number): string[] {
  const names = store.list<{ kind: string; key: string }>(keys.definitionNames(environment)).map(({ value }) => value);
  return names
    .flatMap((name) => {
      const entry = findEntryAt(store, environment, name, revision);
      if (entry === undefined) return [];
      readDefinitionBytes(store, environment, entry);
      return [`${entry.kind} ${entry.key} ${entry.hash}`];
    })
    .sort();
}

const rowOf = (revision: number): RevisionRow => {
  const row = store.find<RevisionRow>(keys.revision(environment, revision));
  if (row === undefined) throw new Error(`no revision ${revision}`);
  return row;
};
const oldestOf = (): number => store.find<EnvironmentStateRow>(keys.environmentState(environment))?.oldestRevision ?? 0;

const put = (definition: Definition): DefinitionChange => ({ put: definition });
const remove = (definition: Definition): DefinitionChange => ({
  remove: { kind: definition.kind, key: definitionKey(definition) },
});

/** Changes that come back to bytes of before, remove, make again, split chunks. */
function changesOf(count: number): DefinitionChange[][] {
  const [vip, chunk] = [aSegment('vip'), aChunk('vip', 'included', ['user-1'])];
  return Array.from({ length: count }, (_, index) => {
    const toggled = put(aFlag('toggled', { on: index % 2 === 0 }));
    switch (index % 5) {
      case 0:
        return [toggled, put(aFlag('steady')), put(vip), put(chunk)];
      case 1:
        return [toggled, put(aChunk('vip', 'included', [`user-${index}`]))];
      case 2:
        return [toggled, remove(chunk), put(aFlag(`new-${index}`))];
      case 3:
        return [toggled, remove(vip), remove(aFlag(`new-${index - 1}`))];
      default:
        return [toggled, put(aFlag('steady', { on: index % 3 === 0 }))];
    }
  });
}

async function run(retention: HistoryRetention | undefined, count: number): Promise<Model> {
  const commit = commitWith(retention);
  const model = new Model();
  await commit([], true);
  model.note(rowOf(1));
  for (const definitions of changesOf(count)) {
    now += 100;
    await commit(definitions);
    model.note(rowOf(model.revisions.length));
  }
  return model;
}

describe('history of definitions', () => {
  test('every revision is read back exactly, bytes included', async () => {
    const { revisions } = await run(undefined, 40);
    for (let revision = 1; revision < revisions.length; revision += 1) {
      expect([revision, servedAt(revision)]).toEqual([revision, revisions[revision]]);
    }
    expect(oldestOf()).toBe(1);
  });

  test('what two revisions differ in is among the names touched between them, however far apart', async () => {
    const { revisions } = await run(undefined, 20);
    const names = (one: number, other: number) =>
      new Set(namesTouchedBetween(store, environment, one, other).map(({ kind, key }) => `${kind} ${key}`));
    for (const [one, other] of [
      [3, 17],
      [17, 3],
      [20, 21],
      [9, 9],
    ] as const) {
      const both = new Set([...(revisions[one] ?? []), ...(revisions[other] ?? [])]);
      const differing = [...both].filter(
        (line) => !(revisions[one]?.includes(line) && revisions[other]?.includes(line)),
      );
      for (const line of differing) expect(names(one, other)).toContain(line.slice(0, line.lastIndexOf(' ')));
    }
    expect(names(9, 9).size).toBe(0);
    expect(findNextChange(store, environment, { kind: 'flag', key: 'steady' }, 2)).toBe(6);
    expect(findNextChange(store, environment, { kind: 'flag', key: 'toggled' }, 21)).toBeUndefined();
  });

  test('keeps the newest by number, and what history names: older ones are gone, their bytes too', async () => {
    const { revisions } = await run({ revisions: 10, ageMs: 0 }, 60);
    const newest = revisions.length - 1;
    expect([newest, oldestOf()]).toEqual([61, 52]);
    for (let revision = 52; revision <= newest; revision += 1) {
      expect([revision, servedAt(revision)]).toEqual([revision, revisions[revision]]);
    }
    const named = new Set(
      revisions
        .slice(52)
        .flat()
        .map((line) => line.split(' ').at(-1)),
    );
    // Definitions are JSON, so the list reads them as rows.
    const stored = store.list(keys.definitions(environment)).map(({ key }) => String(key.at(-1)));
    expect(new Set(stored)).toEqual(named);
    const known = store.list<{ kind: string; key: string }>(keys.definitionNames(environment));
    expect(known.map(({ value }) => value.key)).not.toContain('new-2');
    for (const revision of [1, 51]) {
      expect(() => assertKept(store, environment, revision)).toThrow(
        expect.objectContaining({ code: 'revision-gone', extensions: { oldestRevision: 52 } }),
      );
    }
    for (const revision of [0, 62]) {
      expect(() => assertKept(store, environment, revision)).toThrow(expect.objectContaining({ code: 'not-found' }));
    }
    expect(() => assertKept(store, environment, 52)).not.toThrow();
    expect(store.list(keys.revisions(environment))).toHaveLength(61);
  });

  test('keeps what was in force long enough ago, whatever the number', async () => {
    const { revisions } = await run({ revisions: 2, ageMs: 1_000 }, 30);
    // Revision 21 ended when 22 was made: 900 ms before 31; 20 ended 1 000 ms before.
    expect([revisions.length - 1, oldestOf()]).toEqual([31, 21]);
    expect(servedAt(21)).toEqual(revisions[21]);
  });

  test('a lowered retention is caught up with a few revisions a commit', async () => {
    await run(undefined, 30);
    const commit = commitWith({ revisions: 2, ageMs: 0 });
    const oldest: number[] = [];
    for (let count = 0; count < 9; count += 1) {
      await commit([put(aFlag('more', { on: count % 2 === 0 }))]);
      oldest.push(oldestOf());
    }
    expect(oldest).toEqual([5, 9, 13, 17, 21, 25, 29, 33, 37].map((one, index) => Math.min(one, 31 + index)));
  });

  test('is made for a store that kept none, from the revisions that it has', async () => {
    const { revisions } = await run(undefined, 40);
    const list = (range: Parameters<ControlStore['list']>[0]) => store.list(range).map(({ key }) => key);
    await store.transaction((transaction) => {
      // A store of format 2 whose first 10 revisions were let go, as it did.
      for (const key of list(keys.definitionChanges(environment))) transaction.remove(key);
      for (const key of list(keys.definitionNames(environment))) transaction.remove(key);
      for (let revision = 1; revision <= 10; revision += 1) {
        for (const hash of rowOf(revision).replaced) {
          if ((transaction.find<number>(keys.definitionUse(environment, hash)) ?? 0) >= revision) continue;
          transaction.remove(keys.definition(environment, hash));
        }
        transaction.remove(keys.revision(environment, revision));
      }
    });
    await store.transaction((transaction) => rebuildHistory(transaction, environment));
    expect(oldestOf()).toBe(11);
    for (let revision = 11; revision < revisions.length; revision += 1) {
      expect([revision, servedAt(revision)]).toEqual([revision, revisions[revision]]);
    }
  });
});
