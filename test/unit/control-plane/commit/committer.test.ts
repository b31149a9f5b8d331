import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { SYSTEM_ACTOR } from '@guidon/control-plane/admin-api/actor.js';
import type { AuditEntry, AuditRow } from '@guidon/control-plane/audit/audit-entry.js';
import type { Change, DefinitionChange } from '@guidon/control-plane/commit/change.js';
import { Committer } from '@guidon/control-plane/commit/committer.js';
import { HISTORY_RETENTION, namesTouchedBetween } from '@guidon/control-plane/commit/definition-history.js';
import {
  DELTA_REVISIONS_MAX,
  type EnvironmentStateRow,
  type RevisionRow,
} from '@guidon/control-plane/commit/definition-store.js';
import { EMPTY_FLAG_SET, Workspaces } from '@guidon/control-plane/commit/environment-workspace.js';
import { prepareEnvironment } from '@guidon/control-plane/commit/prepare-environment.js';
import { StaleBaseError } from '@guidon/control-plane/commit/stale-base-error.js';
import { writeEnvironment } from '@guidon/control-plane/commit/write-environment.js';
import { Feed } from '@guidon/control-plane/feed/feed.js';
import { configMessage } from '@guidon/control-plane/publish/config-message.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import type { FlagDefinition, FlagSet } from '@guidon/engine';
import { CompilePool } from '@guidon/pool';
import { PlatformError, parseEnvironmentRef } from '@guidon/protocol';
import { generateSigningKey } from '@guidon/protocol/signed-config';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';

const environment = parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: 'env_1' });
const signingKey = generateSigningKey();
const write = { actor: SYSTEM_ACTOR, requestId: 'r', dryRun: false };
let directory: string;
let store: ControlStore;
let committer: Committer;
const pool = new CompilePool({ threadCount: 1 });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-committer-'));
  store = await ControlStore.open({ directory, mapBytes: 1 << 30 });
  await store.transaction((transaction) => transaction.put(keys.tenant(environment.tenantId), { version: 1 }));
  committer = new Committer({
    store,
    feed: new Feed(store),
    pool,
    signingKeys: { signingKey },
    now: () => 1_700_000_000_000,
    onCommitted: () => {},
    assertMayServe: () => {},
  });
});
afterAll(() => pool.close());
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

function flag(key: string, on: boolean, salt = 'salt'): FlagDefinition {
  return {
    kind: 'flag',
    key,
    type: 'boolean',
    clientSide: false,
    variations: [
      { key: 'on', value: true },
      { key: 'off', value: false },
    ],
    on,
    offVariation: 'off',
    prerequisites: [],
    targets: [],
    rules: [],
    fallthrough: { variation: 'on' },
    salt,
    requires: [],
  };
}

function changeOf(definitions: readonly DefinitionChange[], isNew = false): Change {
  return {
    owner: environment.tenantId,
    action: 'flag.update' as Change['action'],
    subject: 'x',
    summary: 'x',
    before: undefined,
    after: undefined,
    records: [],
    environments: [{ environment, definitions, isNew }],
    reply: ({ environments }) => ({ status: 200, body: environments }),
  };
}

const scope = { projectId: environment.projectId, environmentId: environment.environmentId };
const commit = (definitions: readonly DefinitionChange[], isNew = false) =>
  committer.commit(write, scope, () => changeOf(definitions, isNew));

describe('Committer.commit()', () => {
  test('raises the revision by one for what is served, not for what stays equal (I2)', async () => {
    await commit([], true);
    const answer = async (definitions: readonly DefinitionChange[]) => (await commit(definitions)).body;
    const put = [{ put: flag('a', true) }, { put: flag('b', true) }];
    expect(await answer(put)).toMatchObject([{ revision: 2, isRaised: true }]);
    expect(await answer(put)).toMatchObject([{ revision: 2, isRaised: false }]);
    expect(await answer([{ remove: { kind: 'flag', key: 'nothing' } }])).toMatchObject([
      { revision: 2, isRaised: false },
    ]);
    expect(await answer([{ remove: { kind: 'flag', key: 'a' } }, { put: flag('b', false) }])).toMatchObject([
      { revision: 3 },
    ]);
    const { value } = store.list<RevisionRow>(keys.revisions(environment)).at(-1) ?? {};
    expect(value?.removed).toEqual([['flag', 'a']]);
    expect(value?.changed.map(({ key }) => key)).toEqual(['b']);
  });

  test('refuses what a node would refuse, with every issue, and goes on as if it had not been asked', async () => {
    await commit([], true);
    const bad = { ...flag('bad', true), offVariation: 'nothing', fallthrough: { variation: 'neither' } };
    await expect(commit([{ put: bad }, { put: flag('good', true) }])).rejects.toMatchObject({
      issues: [{ pointer: '/flag/bad/offVariation' }, { pointer: '/flag/bad/fallthrough/variation' }].map((issue) =>
        expect.objectContaining(issue),
      ),
    });
    expect(store.find<EnvironmentStateRow>(keys.environmentState(environment))?.revision).toBe(1);
    await commit([{ put: flag('good', true) }]);
    // A process that has nothing in memory reads the same digest from the store.
    expect(new Workspaces().open(store, environment)?.revision).toBe(2);
  });

  test('an environment that is not there, or there already, is refused', async () => {
    await expect(commit([{ put: flag('a', true) }])).rejects.toMatchObject({ code: 'not-found' });
    await commit([], true);
    await expect(commit([], true)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('changes of one environment asked for at once share commits; each is a revision and a bad one stands alone (I1, I2)', async () => {
    await commit([], true);
    const bad = { ...flag('bad', true), offVariation: 'nothing' };
    const asked = Array.from({ length: 12 }, (_, index) =>
      commit([{ put: index === 5 ? bad : flag(`f${index}`, true) }]),
    );
    const results = await Promise.allSettled(asked);
    expect(results.map(({ status }) => status).indexOf('rejected')).toBe(5);
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    const rows = store.list<RevisionRow>(keys.revisions(environment)).map(({ value }) => value);
    expect(rows.map(({ revision }) => revision)).toEqual(Array.from({ length: 12 }, (_, index) => index + 1));
    expect(rows.map(({ auditSequence }) => auditSequence)).toEqual(rows.map(({ revision }) => revision));
    expect(new Workspaces().open(store, environment)?.flagSet.flags.size).toBe(11);
  });

  test('the rows of one who writes alone are made once; made while another wrote first, they are made again (I1, I5, I23)', async () => {
    await commit([], true);
    const { environments: _, ...elsewhere } = changeOf([]);
    let runs = 0;
    const assertInside = () => {
      runs += 1;
    };
    const counted = (change: Change): Change => ({ ...change, assertInside });
    await committer.commit(write, scope, () => counted(changeOf([{ put: flag('a', true) }])));
    expect(runs).toBe(1);
    for (let round = 0; round < 10; round += 1) {
      const slow = committer.commit(write, scope, () => counted(changeOf([{ put: flag('a', round % 2 === 0, 's') }])));
      // By then its rows are there and the pool tries it; what comes between is not tried.
      await setImmediate();
      await setImmediate();
      await committer.commit(write, undefined, () => elsewhere);
      await slow;
    }
    const entries = store.list<AuditRow>(keys.auditEntries(environment.tenantId)).map(({ value }) => value);
    const texts = entries.map(({ text }) => JSON.parse(text) as AuditEntry);
    expect(texts.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 22 }, (__, index) => index + 1));
    expect(texts.slice(1).map(({ previousHash }) => previousHash)).toEqual(
      entries.slice(0, -1).map(({ hash }) => hash),
    );
    const feed = store.list<{ sequence: number }>(keys.feedRows(environment.tenantId));
    expect(feed.map(({ value }) => value.sequence)).toEqual(feed.map((__, index) => index + 1));
  });

  test('what is kept in memory is what the store has, after changes, refusals and dry runs asked for at once', async () => {
    await commit([], true);
    const bad = { ...flag('bad', true), offVariation: 'nothing' };
    const ask = (step: number) => {
      const key = `f${(step * 7) % 5}`;
      const dryRun = step % 4 === 1;
      const definitions: DefinitionChange[] =
        step % 5 === 2 ? [{ remove: { kind: 'flag', key } }] : [{ put: flag(key, step % 2 === 0, `salt${step}`) }];
      if (step % 7 === 3) definitions.push({ put: bad });
      return committer.commit({ ...write, dryRun }, scope, () => changeOf(definitions));
    };
    const flagsOf = (flagSet: FlagSet) => [...flagSet.flags].sort(([a], [b]) => (a < b ? -1 : 1));
    for (let round = 0; round < 5; round += 1) {
      const steps = Array.from({ length: 14 }, (_, index) => round * 14 + index);
      const answers = await Promise.allSettled(steps.map(ask));
      const isRefused = (step: number) => step % 7 === 3 && step % 4 !== 1;
      expect(answers.map(({ status }) => status === 'rejected')).toEqual(steps.map(isRefused));
      // It is read from the store, and refused when its digest is not the one in force.
      const stored = new Workspaces().open(store, environment);
      expect(flagsOf(committer.flagSetOf(environment))).toEqual(flagsOf(stored?.flagSet ?? EMPTY_FLAG_SET));
    }
  });

  test('what a change asserts inside sees all that was staged before it, so a bound holds for those who ask at once', async () => {
    const roles = keys.roles(environment.tenantId);
    const ask = (name: string) =>
      committer.commit(write, undefined, () => ({
        ...changeOf([]),
        environments: [],
        rows: [{ key: keys.role(environment.tenantId, name), value: {} }],
        assertInside: (transaction) => {
          if (transaction.list(roles).length >= 2) throw new PlatformError('limit-exceeded', 'two at most');
        },
      }));
    const asked = await Promise.allSettled(['a', 'b', 'c', 'd'].map(ask));
    expect(asked.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected']);
    expect(store.list(roles)).toHaveLength(2);
  });

  test('a plan made on a base that has moved is not written', async () => {
    await commit([], true);
    const prepared = prepareEnvironment(store, new Workspaces(), {
      environment,
      definitions: [{ put: flag('a', true) }],
    });
    await commit([{ put: flag('b', true) }]);
    const late = store.transaction((transaction) =>
      writeEnvironment(transaction, prepared, { signingKey, now: 0, actorName: 'x', retention: HISTORY_RETENTION }),
    );
    await expect(late).rejects.toBeInstanceOf(StaleBaseError);
    expect(store.find<EnvironmentStateRow>(keys.environmentState(environment))?.revision).toBe(2);
  });

  test('a node that lags further than deltas go gets the whole; revisions stay', async () => {
    await commit([], true);
    await commit([{ put: flag('toggled', true) }, { put: flag('once', true) }]);
    for (let count = 0; count < DELTA_REVISIONS_MAX + 4; count += 1)
      await commit([{ put: flag('toggled', count % 2 === 1) }]);
    expect(store.list(keys.revisions(environment))).toHaveLength(DELTA_REVISIONS_MAX + 6);
    expect(configMessage(store, environment, { since: 5 }).previousRevision).toBe(0);
    expect(configMessage(store, environment, { since: 5 }).delta?.changed).toHaveLength(2);
    expect(configMessage(store, environment, { since: 6 }).previousRevision).toBe(6);
    expect(configMessage(store, environment, { since: 6 }).delta?.changed).toHaveLength(1);
    // Too many to walk: all names, which hold those that were touched.
    const touched = namesTouchedBetween(store, environment, 1, DELTA_REVISIONS_MAX + 6);
    expect(touched.map(({ key }) => key)).toEqual(['once', 'toggled']);
  });
});
