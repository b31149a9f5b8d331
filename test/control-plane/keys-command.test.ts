import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';

/** `guidon keys` against a running control plane. */
let plane: TestControlPlane;
const folder = temporaryFolder('keys-command');
const tokenFile = join(folder.path, 'token');

beforeAll(async () => {
  plane = await TestControlPlane.start();
  writeFileSync(tokenFile, `${plane.admin}\n`, { mode: 0o600 });
});
afterAll(async () => {
  await plane.dispose();
  folder.remove();
});

async function guidon(args: readonly string[], environment = {}): Promise<{ status: number | null; lines: string[] }> {
  const command = new GuidonProcess(['keys', ...args, '--control-plane', plane.running.url], environment);
  const status = await command.exitStatus();
  return { status, lines: command.output.trim().split('\n') };
}

const statesOf = (lines: readonly string[]): (string | undefined)[] =>
  lines.slice(1).map((line) => line.split(/\s+/)[1]);

it('rotates: list, introduce, activate, revoke', async () => {
  const listed = await guidon(['list', '--token-file', tokenFile]);
  expect(listed.status).toBe(0);
  expect(listed.lines[0]).toBe(`trust root ${plane.running.trustRoot}`);
  expect(statesOf(listed.lines)).toEqual(['active']);
  const first = listed.lines[1]?.split(' ')[0] ?? '';
  const early = await guidon(['activate', '--token-file', tokenFile]);
  expect(early).toMatchObject({ status: 78, lines: [expect.stringContaining('run `guidon keys introduce`')] });
  const introduced = await guidon(['introduce'], { GUIDON_ADMIN_TOKEN: plane.admin });
  expect(statesOf(introduced.lines)).toEqual(['active', 'next']);
  const activated = await guidon(['activate', '--token-file', tokenFile]);
  expect(statesOf(activated.lines)).toEqual(['retired', 'active']);
  expect(activated.lines[1]).toMatch(new RegExp(`^${first}  retired  until 20..-..-..T`));
  const revoked = await guidon(['revoke', first, '--token-file', tokenFile]);
  expect(statesOf(revoked.lines)).toEqual(['active']);
});

it('says what is missing or wrong, and never the token', async () => {
  const without = await guidon(['list'], { GUIDON_ADMIN_TOKEN: '' });
  expect(without).toMatchObject({ status: 78, lines: [expect.stringContaining('give an admin token')] });
  const nowhere = await guidon(['list', '--token-file', join(folder.path, 'none')]);
  expect(nowhere).toMatchObject({ status: 78, lines: [expect.stringContaining('cannot be read')] });
  const wrong = plane.admin.slice(0, -12).concat('AAAAAAAAAAAA');
  const refused = await guidon(['list'], { GUIDON_ADMIN_TOKEN: wrong });
  expect(refused).toMatchObject({ status: 78 });
  expect(refused.lines).toEqual([
    expect.stringMatching(/^guidon: GET \S+\/api\/v1\/signing-keys was refused: 401 invalid-credentials: [^{}]+$/),
  ]);
  expect(refused.lines.join()).not.toContain(wrong);
  const away = new GuidonProcess(['keys', 'list', '--control-plane', 'http://127.0.0.1:1', '--token-file', tokenFile]);
  expect(await away.exitStatus()).toBe(78);
  expect(away.output).toContain('http://127.0.0.1:1 does not answer: does a control plane run there?');
  const unknown = await guidon(['revoke', 'nothing', '--token-file', tokenFile]);
  expect(unknown).toMatchObject({ status: 78, lines: [expect.stringContaining(': 404 not-found: ')] });
});
