import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';

const WRITER = fileURLToPath(new URL('./full-disk-writer.mjs', import.meta.url));
let plane: TestControlPlane | undefined;
afterAll(() => plane?.dispose());

test('when the file cannot grow: 503, reads go on, no further write, then the process ends; nothing acknowledged is lost (I3, M4)', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'guidon-full-disk-'));
  // In blocks of 512 bytes: 1 MiB. Node ignores SIGXFSZ, so the write itself fails.
  const script = 'ulimit -f 2048 && exec "$0" "$@"';
  const { stdout, signal } = spawnSync('sh', ['-c', script, process.execPath, WRITER, directory], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  const lines = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  const answers = lines.filter(({ key }) => key !== undefined);
  expect(answers.length).toBeGreaterThan(10);
  expect(answers.at(-1)).toMatchObject({ status: 503, code: 'storage-unavailable' });
  const acknowledged = answers.slice(0, -1);
  expect(new Set(acknowledged.map(({ status }) => status))).toEqual(new Set([201]));
  expect(lines.filter(({ key }) => key === undefined)).toEqual([
    { read: 200 },
    { refused: 404 },
    { write: 503 },
    { failure: 'storage-unavailable' },
  ]);
  expect(signal).toBe('SIGKILL');

  plane = await TestControlPlane.start({ directory });
  const { body } = await plane.must('GET', '/api/v1/tenants');
  for (const { key } of acknowledged) await plane.must('GET', `/api/v1/tenants/${body.items[0].id}/projects/${key}`);
  await plane.must('POST', `/api/v1/tenants/${body.items[0].id}/projects`, { body: { key: 'again', name: 'x' } });
});
