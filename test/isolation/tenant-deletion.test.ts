import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { keys } from '@guidon/control-plane/store/keys.js';
import { parseTenantId } from '@guidon/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';
import { archiveTenant, rowsOfStore } from '../support/whole-store.js';
import { type PlantedTenant, TwoTenants } from './two-tenants.js';

let installation: TwoTenants;
let plane: TestControlPlane;
let a: PlantedTenant;
let tenant: string;

beforeEach(async () => {
  installation = await TwoTenants.start();
  ({ plane, a } = installation);
  tenant = `/api/v1/tenants/${a.tenantId}`;
});
afterEach(() => plane.dispose());

/** Accounts are people's own, whatever tenants they belong to; these carry the canary in their names and addresses. */
const isOfPerson = (row: string): boolean =>
  /^\["\$","\$","(person|person-email|session)",/.test(row) ||
  (row.startsWith('["$","$","audit",') && row.includes('\\"action\\":\\"session.'));

/** Rows that name the tenant or hold its canary or one of its ids, but for its one entry in the installation's log. */
async function remains(directory: string): Promise<string[]> {
  const { tenantId, canary, environmentId, credentialId, adminCredentialId, uploadId, personalTokenId, invitationId } =
    a;
  const { webhookId, triggerId } = a;
  const ids = [
    tenantId,
    environmentId,
    credentialId,
    adminCredentialId,
    uploadId,
    personalTokenId,
    invitationId,
    webhookId,
    triggerId,
  ];
  const found = (await rowsOfStore(directory)).filter(
    (row) => ids.some((id) => row.includes(id)) || (row.includes(canary) && !isOfPerson(row)),
  );
  const entries = found.filter((row) => row.startsWith('["$","$","audit",') && row.includes('tenant.delete'));
  expect(entries).toHaveLength(1);
  return found.filter((row) => !entries.includes(row));
}

async function putManyRows(count: number): Promise<void> {
  const store = await ControlStore.open({ directory: join(plane.directory, 'store') });
  const tenantId = parseTenantId(a.tenantId);
  await store.transaction((transaction) => {
    for (let index = 0; index < count; index += 1) {
      transaction.put(keys.flagTombstone(tenantId, 'prj_x', `${a.canary}-${index}`), { version: index, of: a.canary });
    }
  });
  await store.close();
}

describe('deleting a tenant', () => {
  test('leaves nothing of it in the store but one entry in the installation’s log, and everything of others', async () => {
    const ofB = async () => (await plane.must('GET', `${installation.b.environment}/flags/gate/targeting`)).text;
    const before = await ofB();
    const logOfB = async () => (await plane.must('GET', `/api/v1/tenants/${installation.b.tenantId}/audit`)).text;
    const auditOfB = await logOfB();
    const rowCountBefore = (await rowsOfStore(plane.directory)).filter((row) => row.includes(a.tenantId)).length;
    expect(rowCountBefore).toBeGreaterThan(50);
    const { path, headers } = await archiveTenant(plane, tenant);
    expect((await plane.call('DELETE', path, { headers })).status).toBe(204);
    expect((await plane.call('GET', tenant)).status).toBe(404);
    expect((await plane.call('GET', `${tenant}/projects`)).status).toBe(404);
    expect((await plane.call('GET', tenant, { token: a.admin })).status).toBe(401);
    expect(await ofB()).toBe(before);
    expect(await logOfB()).toBe(auditOfB);
    const { body } = await plane.must('GET', '/api/v1/audit?action=tenant.delete');
    expect(body.items).toHaveLength(1);
    await plane.stop();
    expect(await remains(plane.directory)).toEqual([]);
    plane = await TestControlPlane.start({ directory: plane.directory });
    expect((await plane.must('GET', '/api/v1/tenants')).text).not.toContain(a.canary);
    // Its key is free again.
    await plane.must('POST', '/api/v1/tenants', { body: { key: a.canary, name: 'another' } });
  });

  test('nodes are told no more of its environments', async () => {
    const config = `/internal/v1/environments/${a.environmentId}/config`;
    expect((await plane.call('GET', config, { token: installation.node })).status).toBe(200);
    const { path, headers } = await archiveTenant(plane, tenant);
    await plane.must('DELETE', path, { headers });
    expect((await plane.call('GET', config, { token: installation.node })).status).toBe(404);
    const all = Array.from({ length: 256 }, (_, bucket) => bucket.toString(16).padStart(2, '0')).join(',');
    const { text } = await plane.must('GET', `/internal/v1/digests?buckets=${all}`, { token: installation.node });
    expect(text).not.toContain(a.tenantId);
    expect(text).toContain(installation.b.environmentId);
  });

  test('asks for the archive, its key, its ETag and an owner; a dry run deletes nothing', async () => {
    const { body } = await plane.must('GET', tenant);
    const early = await plane.call('DELETE', `${tenant}?confirm=${a.canary}`, {
      headers: { 'if-match': `"${body.version}"` },
    });
    expect([early.status, early.body.code]).toEqual([409, 'conflict']);
    const { path, headers } = await archiveTenant(plane, tenant);
    const wrong = await plane.call('DELETE', `${tenant}?confirm=b`, { headers });
    expect([wrong.status, wrong.body.errors[0].pointer]).toEqual([422, '/confirm']);
    expect((await plane.call('DELETE', tenant, { headers })).status).toBe(422);
    expect((await plane.call('DELETE', path)).status).toBe(428);
    expect((await plane.call('DELETE', path, { headers: { 'if-match': '"1"' } })).status).toBe(412);
    const dry = await plane.call('DELETE', `${path}&dryRun=true`, { headers });
    expect([dry.status, dry.body.dryRun]).toEqual([200, true]);
    const made = await plane.call('DELETE', path, { headers, token: installation.b.admin });
    expect(made.status).toBe(404);
    expect((await plane.must('GET', `${a.environment}/flags/gate/targeting`)).text).toContain(a.canary);
    // An owner of the tenant itself may.
    expect((await plane.call('DELETE', path, { headers, token: a.admin })).status).toBe(204);
  });

  test.each([1, 4])('goes on where kill -9 stopped it, after %i of its transactions', async (transactions) => {
    const { path, headers } = await archiveTenant(plane, tenant);
    await plane.stop();
    await putManyRows(2_500);
    const script = fileURLToPath(new URL('./deletion-writer.mjs', import.meta.url));
    const child = spawnSync(
      process.execPath,
      [script, plane.directory, path, String(headers['if-match']), String(transactions)],
      { encoding: 'utf8', timeout: 25_000 },
    );
    expect([child.stdout, child.signal]).toEqual(['', 'SIGKILL']);
    // Half of it is still there …
    expect((await remains(plane.directory)).length).toBeGreaterThan(500);
    plane = await TestControlPlane.start({ directory: plane.directory });
    // … and nobody sees it.
    expect((await plane.call('GET', tenant)).status).toBe(404);
    expect((await plane.call('GET', `${tenant}/projects/shop`)).status).toBe(404);
    await until('it is removed', async () => {
      const rows = await rowsOfStore(plane.directory);
      return !rows.some((row) => row.includes('tenant-removal'));
    });
    await plane.stop();
    expect(await remains(plane.directory)).toEqual([]);
    plane = await TestControlPlane.start({ directory: plane.directory });
  });
});
