import { createRequire } from 'node:module';
import { join } from 'node:path';
import { STORE_OPTIONS } from '@guidon/control-plane/store/control-store.js';
import type { TestControlPlane } from './control-plane.js';

const lmdb = createRequire(import.meta.url)('lmdb') as typeof import('lmdb');

/** Every row of a stopped control plane's store as text, read past all of our own code: key, and value as it lies there. */
export async function rowsOfStore(directory: string): Promise<string[]> {
  const database = lmdb.open<Buffer>({ path: join(directory, 'store'), ...STORE_OPTIONS, readOnly: true });
  const rows = [...database.getRange({})].map(
    ({ key, value }) => `${JSON.stringify(key)} ${value.subarray(4).toString('utf8')}`,
  );
  await database.close();
  return rows;
}

/** Archives a tenant with all it has. Resolves with the query and headers that its deletion takes. */
export async function archiveTenant(
  plane: TestControlPlane,
  tenant: string,
): Promise<{ readonly path: string; readonly headers: Record<string, string> }> {
  const list = async (path: string) => (await plane.must('GET', `${path}?limit=100`)).body.items;
  const post = (path: string, version: number) => plane.must('POST', path, { headers: { 'if-match': `"${version}"` } });
  for (const project of await list(`${tenant}/projects`)) {
    const projectPath = `${tenant}/projects/${project.key}`;
    for (const environment of await list(`${projectPath}/environments`)) {
      const path = `${projectPath}/environments/${environment.key}`;
      for (const { id, version, revokedAt } of await list(`${path}/credentials`)) {
        if (revokedAt === null) await post(`${path}/credentials/${id}/revoke`, version);
      }
      if (!environment.archived) await post(`${path}/archive`, environment.version);
    }
    if (!project.archived) await post(`${projectPath}/archive`, project.version);
  }
  const { body } = await plane.must('GET', tenant);
  const archived = await post(`${tenant}/archive`, body.version);
  return { path: `${tenant}?confirm=${body.key}`, headers: { 'if-match': String(archived.headers.etag) } };
}
