import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ControlStore, STORE_FORMAT_VERSION } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';
import { parseTenantId } from '@guidon/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

/** I17 in the control plane: no tenant takes more of it than it was given. */
let plane: TestControlPlane;
let acme: Seed;
let other: Seed;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed();
  await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag('gate') });
  other = await plane.seed('other');
});
afterAll(() => plane.dispose());

async function setQuotas(quotas: unknown, token = plane.admin): Promise<Answer> {
  const { headers } = await plane.must('GET', acme.tenant);
  return plane.call('PATCH', acme.tenant, {
    token,
    headers: { 'if-match': String(headers.etag), 'content-type': 'application/merge-patch+json' },
    body: { quotas },
  });
}
const usage = async (seed: Seed = acme) =>
  (await plane.must('GET', `${seed.tenant}/usage`, { token: seed.token })).body;

let madeCount = 0;
const fresh = (): string => `more${++madeCount}`;

/** By resource: how one more is asked for. */
const MORE: Readonly<Record<string, () => Promise<Answer>>> = {
  triggers: () =>
    plane.call('POST', `${acme.tenant}/triggers`, {
      body: { name: fresh(), project: 'shop', environment: 'dev', flag: 'gate', effect: 'turn-off' },
    }),
  webhooks: () =>
    plane.call('POST', `${acme.tenant}/webhooks`, { body: { name: fresh(), url: 'https://example.com/' } }),
  projects: () => plane.call('POST', `${acme.tenant}/projects`, { body: { key: fresh(), name: 'n' } }),
  environments: () => plane.call('POST', `${acme.project}/environments`, { body: { key: fresh(), name: 'n' } }),
  flags: () => plane.call('POST', `${acme.project}/flags`, { body: booleanFlag(fresh()) }),
  segmentKeys: () =>
    plane.call('POST', `${acme.dev.path}/segments/beta/keys`, { body: { add: ['a', 'b'], remove: ['first'] } }),
  credentials: () => plane.call('POST', `${acme.dev.path}/credentials`, { body: { kind: 'srv', name: 'more' } }),
  adminCredentials: () => plane.call('POST', `${acme.tenant}/admin-credentials`, { body: { name: 'more' } }),
  roles: () =>
    plane.call('POST', `${acme.tenant}/roles`, {
      body: { key: fresh(), name: 'n', statements: [{ effect: 'allow', actions: ['flag.read'], resources: ['*'] }] },
    }),
};

describe('what a tenant may have', () => {
  test('is counted for each tenant, with what it may have by default', async () => {
    await plane.must('POST', `${acme.dev.path}/segments`, {
      body: { key: 'beta', included: [{ keys: ['first', 'second'] }] },
    });
    expect(await usage()).toMatchObject({
      projects: { used: 1, allowed: 1_000 },
      environments: { used: 2 },
      flags: { used: 1, allowed: 100_000 },
      segmentKeys: { used: 2 },
      credentials: { used: 0 },
      adminCredentials: { used: 1 },
      roles: { used: 0, allowed: 100 },
      adminRequestsPerSecond: { allowed: null },
    });
    expect((await usage(other)).segmentKeys.used).toBe(0);
  });

  test.each(Object.keys(MORE))('%s: one more than allowed is 422 limit-exceeded with the figures', async (resource) => {
    const more = MORE[resource];
    if (more === undefined) throw new Error('no such resource');
    const { used } = (await usage())[resource];
    const allowed = Math.max(used, 1);
    if (used === 0) expect((await more()).status).toBeLessThan(300);
    expect((await setQuotas({ [resource]: allowed })).status).toBe(200);
    const refused = await more();
    expect([refused.status, refused.body.code]).toEqual([422, 'limit-exceeded']);
    expect(refused.body).toMatchObject({ limit: resource, used: allowed, allowed });
    expect((await usage())[resource]).toEqual({ used: allowed, allowed });
    expect((await setQuotas({ [resource]: null })).status).toBe(200);
  });

  test('a dry run is refused like the write itself', async () => {
    await setQuotas({ projects: 1 });
    const path = `${acme.tenant}/projects?dryRun=true`;
    const refused = await plane.call('POST', path, { body: { key: 'dry', name: 'n' } });
    expect([refused.status, refused.body.limit]).toEqual([422, 'projects']);
    await setQuotas({ projects: null });
    expect((await plane.call('POST', path, { body: { key: 'dry', name: 'n' } })).status).toBe(200);
  });

  test('of ten at once, exactly those that fit are made', async () => {
    const { used } = (await usage()).flags;
    await setQuotas({ flags: used + 3 });
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        plane.call('POST', `${acme.project}/flags`, { body: booleanFlag(`race${index}`) }),
      ),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
    expect((await usage()).flags).toEqual({ used: used + 3, allowed: used + 3 });
  });

  test('less than is there takes nothing away; what is deleted, revoked or removed frees room', async () => {
    await setQuotas({ flags: 1, segmentKeys: 1, credentials: 1 });
    const { body } = await plane.must('GET', `${acme.project}/flags`);
    const before = (await usage()).flags.used;
    expect(before).toBe(body.items.length);
    const [first] = body.items;
    const flag = `${acme.project}/flags/${first.key}`;
    const etag = String((await plane.must('GET', flag)).headers.etag);
    await plane.must('DELETE', `${flag}?force=true`, { headers: { 'if-match': etag } });
    expect((await usage()).flags.used).toBe(before - 1);
    await plane.must('POST', `${acme.dev.path}/segments/beta/keys`, { body: { remove: ['first', 'second'] } });
    expect((await usage()).segmentKeys.used).toBe(0);
    const listed = await plane.must('GET', `${acme.dev.path}/credentials`);
    const [key] = listed.body.items;
    expect((await MORE.credentials?.())?.status).toBe(422);
    await plane.must('POST', `${acme.dev.path}/credentials/${key.id}/revoke`, {
      headers: { 'if-match': `"${key.version}"` },
    });
    expect((await usage()).credentials.used).toBe(0);
    expect((await MORE.credentials?.())?.status).toBe(201);
    await setQuotas({ flags: null, segmentKeys: null, credentials: null });
  });

  test('is for the installation to say, and only in whole numbers within bounds', async () => {
    expect((await setQuotas({ flags: 5 }, acme.token)).status).toBe(403);
    for (const bad of [{ flags: 0 }, { flags: 1.5 }, { roles: 1e9 }, { people: 3 }]) {
      const answer = await setQuotas(bad);
      expect([answer.status, answer.body.errors[0].pointer.split('/')[1]]).toEqual([422, 'quotas']);
    }
  });

  test('does not travel to the nodes', async () => {
    await setQuotas({ flags: 9_999, requestsPerSecond: 77 });
    const node = await plane.running.issueNodeCredential('n');
    const { text } = await plane.must('GET', `/internal/v1/environments/${acme.dev.id}/access`, { token: node });
    expect(text).toContain('"requestsPerSecond":77');
    expect(text).not.toContain('9999');
  });
});

describe('admin requests a second', () => {
  test('beyond the quota are 429 with Retry-After, of that tenant alone; admins of the installation are not counted', async () => {
    await setQuotas({ adminRequestsPerSecond: 5 });
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => plane.call('GET', acme.tenant, { token: acme.token })),
    );
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(5);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.headers['retry-after']).toBe('1');
    expect(refused[0]?.body).toMatchObject({ code: 'rate-limited', limit: 'adminRequestsPerSecond', allowed: 5 });
    expect((await plane.call('GET', other.tenant, { token: other.token })).status).toBe(200);
    expect((await setQuotas({ adminRequestsPerSecond: null })).status).toBe(200);
    expect((await plane.call('GET', acme.tenant, { token: acme.token })).status).toBe(200);
  });
});

test('a store that did not count is counted when it is opened', async () => {
  const older = await TestControlPlane.start();
  const seed = await older.seed();
  await older.must('POST', `${seed.project}/flags`, { body: booleanFlag('gate') });
  await older.must('POST', `${seed.dev.path}/segments`, { body: { key: 's', included: [{ keys: ['a', 'b', 'c'] }] } });
  await older.must('POST', `${seed.dev.path}/credentials`, { body: { kind: 'srv', name: 'n' } });
  const { body } = await older.must('GET', `${seed.tenant}/usage`);
  await older.stop();
  const directory = join(older.directory, 'store');
  const tenantId = parseTenantId(seed.tenantId);
  const store = await ControlStore.open({ directory });
  await store.transaction((transaction) => {
    transaction.remove(keys.tenantUsage(tenantId));
    transaction.put(keys.storeFormat(), { version: 3 });
  });
  await store.close();
  const migrated = await ControlStore.open({ directory, migrations: STORE_MIGRATIONS });
  expect(migrated.find(keys.storeFormat())).toEqual({ version: STORE_FORMAT_VERSION });
  expect(migrated.find(keys.tenantUsage(tenantId))).toEqual({
    projects: body.projects.used,
    environments: 2,
    flags: 1,
    segmentKeys: 3,
    credentials: 1,
    adminCredentials: 1,
  });
  await migrated.close();
  rmSync(older.directory, { recursive: true });
});
