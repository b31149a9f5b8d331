import { join } from 'node:path';
import type { FeedRow } from '@guidon/control-plane/feed/feed-row.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';
import { parseTenantId } from '@guidon/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let seed: Seed;
beforeEach(async () => {
  plane = await TestControlPlane.start();
  seed = await plane.seed();
});
afterEach(() => plane.dispose());

/** What lies in the store once the control plane has stopped. */
async function rowsIn(tenant: string): Promise<FeedRow[]> {
  await plane.stop();
  const store = await ControlStore.open({ directory: join(plane.directory, 'store'), migrations: STORE_MIGRATIONS });
  const rows = store.list<FeedRow>(keys.feedRows(parseTenantId(tenant))).map(({ value }) => value);
  await store.close();
  plane = await TestControlPlane.start({ directory: plane.directory });
  return rows;
}

const of = (rows: readonly FeedRow[], type: string): FeedRow[] => rows.filter((row) => row.type === type);
const gapless = (rows: readonly FeedRow[]): void =>
  expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map((_, index) => index + 1));

test('one row per thing that a change writes and per environment it raises, in one sequence without a gap over restarts', async () => {
  await plane.must('POST', `${seed.project}/flags`, { body: { ...booleanFlag('gate'), tags: ['x'] } });
  const before = await rowsIn(seed.tenantId);
  gapless(before);
  expect(before.slice(-5).map(({ type, subject, revision, data }) => [type, subject, revision, data !== null])).toEqual(
    [
      ['flag.created', 'projects/shop/flags/gate', undefined, true],
      ['targeting.created', 'projects/shop/environments/dev/flags/gate/targeting', 2, true],
      ['targeting.created', 'projects/shop/environments/prod/flags/gate/targeting', 2, true],
      ['environment.revision', 'projects/shop/environments/dev/revision', 2, true],
      ['environment.revision', 'projects/shop/environments/prod/revision', 2, true],
    ],
  );
  const flagPath = `${seed.project}/flags/gate`;
  await plane.must('POST', `${flagPath}/archive`, { headers: { 'if-match': '"1"' } });
  await plane.must('DELETE', `${flagPath}?force=true`, { headers: { 'if-match': '"2"' } });
  const rows = await rowsIn(seed.tenantId);
  gapless(rows);
  expect(rows.slice(0, before.length)).toEqual(before);
  expect(of(rows, 'flag.archived').map(({ data }) => (data as { archived: boolean }).archived)).toEqual([true]);
  expect(of(rows, 'flag.deleted').map(({ data, audience }) => [data, audience])).toEqual([
    [null, { action: 'flag.read', path: 'project:shop/flag:gate', tags: ['x'] }],
  ]);
  expect(of(rows, 'targeting.deleted')).toHaveLength(2);
});

test('what is refused or a dry run leaves neither a row nor a gap', async () => {
  await plane.must('POST', `${seed.project}/flags?dryRun=true`, { body: booleanFlag('gate') });
  expect((await plane.call('POST', `${seed.tenant}/projects`, { body: { key: 'shop', name: 'Shop' } })).status).toBe(
    409,
  );
  await plane.must('POST', `${seed.tenant}/projects`, { body: { key: 'next', name: 'Next' } });
  const rows = await rowsIn(seed.tenantId);
  gapless(rows);
  expect(rows.filter(({ subject }) => subject.includes('gate'))).toEqual([]);
  expect(rows.at(-1)?.subject).toBe('projects/next');
});

test('no secret and no address comes into the feed; a revoked key says so', async () => {
  const key = await plane.must('POST', `${seed.dev.path}/credentials`, { body: { kind: 'srv', name: 'k' } });
  await plane.must('POST', `${seed.dev.path}/credentials/${key.body.id}/revoke`, { headers: { 'if-match': '"1"' } });
  const invitations = `${seed.tenant}/invitations`;
  const invite = async (email: string) =>
    (await plane.must('POST', invitations, { body: { email, roles: ['viewer'] } })).body;
  const { id } = await invite('bob@example.com');
  await plane.must('DELETE', `${invitations}/${id}`, {});
  const [, token] = (await invite('ann@example.com')).link.split('#');
  const password = 'correct horse battery staple';
  const body = { token, name: 'Ann Example', password };
  await plane.must('POST', '/api/v1/invitations/accept', { body, token: null });
  const [{ personId }] = (await plane.must('GET', `${seed.tenant}/members`)).body.items;
  const member = `${seed.tenant}/members/${personId}`;
  await plane.must('PATCH', member, { body: { roles: ['editor'] }, headers: { 'if-match': '"1"' } });
  await plane.must('DELETE', member, { headers: { 'if-match': '"2"' } });
  const rows = await rowsIn(seed.tenantId);
  expect(of(rows, 'credential.revoked').map(({ subject }) => subject)).toEqual([
    `projects/shop/environments/dev/credentials/${key.body.id}`,
  ]);
  expect(of(rows, 'member.deleted')).toHaveLength(1);
  expect(JSON.stringify(rows)).not.toContain('example.com');
  expect(rows.filter(({ summary }) => summary.includes('Ann')).map(({ summary }) => summary)).toEqual([]);
  expect(of(rows, 'invitation.created').map(({ data }) => Object.keys(data as object))).toEqual(
    Array(2).fill(['id', 'roles', 'createdAt', 'expiresAt']),
  );
  expect(JSON.stringify(rows)).not.toMatch(/secretHash|gdn_|passwordHash/);
});

test('tenants have sequences of their own', async () => {
  const other = await plane.seed('other');
  gapless(await rowsIn(other.tenantId));
  gapless(await rowsIn(seed.tenantId));
});
