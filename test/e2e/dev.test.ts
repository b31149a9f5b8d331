import { execFile } from 'node:child_process';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generateCredential } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DevProcess, setUpAdmin, startDev } from '../support/dev-process.js';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';
import { sendJson, sendMsgpack } from '../support/http.js';

const run = promisify(execFile);
const folder = temporaryFolder('dev');
let dev: DevProcess;
let admin: string;

beforeAll(async () => {
  dev = await startDev(folder.path);
  admin = await setUpAdmin(dev);
});
afterAll(async () => {
  await dev.process.stop();
  folder.remove();
});

const targetingUrl = (flag: string) =>
  `${dev.adminUrl}/api/v1/tenants/${dev.tenantId}/projects/demo/environments/development/flags/${flag}/targeting`;
const evaluate = (flags: string, context: object) =>
  sendMsgpack(`${dev.evaluateUrl}/v1/evaluate`, { key: dev.serverKey, body: { flags, context } });

describe('guidon dev', () => {
  it('prints a curl line that works when pasted', async () => {
    const { stdout } = await run('sh', ['-c', dev.curlLine]);
    expect(JSON.parse(stdout)).toEqual({
      revision: expect.any(Number),
      flag: 'greeting',
      value: 'Willkommen',
      variation: 'german',
      reason: 'TARGETING_MATCH',
      ruleId: 'german-speaking',
    });
  });

  it('answers the three demo flags over msgpack and JSON alike', async () => {
    const body = { context: { targetingKey: 'user-7', plan: 'pro', appVersion: '2.1.0' } };
    const asMsgpack = await sendMsgpack(`${dev.evaluateUrl}/v1/evaluate`, { key: dev.serverKey, body });
    const asJson = await sendJson(`${dev.evaluateUrl}/v1/evaluate`, { key: dev.serverKey, body });
    expect(asMsgpack.body).toEqual(asJson.body);
    expect(asMsgpack.body.results).toMatchObject([
      { flag: 'greeting', value: 'Welcome back, pro', reason: 'TARGETING_MATCH', ruleId: 'pro-plan' },
      { flag: 'new-checkout', value: true, reason: 'STATIC' },
      { flag: 'search-tuning', reason: 'SPLIT' },
    ]);
  });

  it('splits the JSON flag about 20 to 80', async () => {
    const contexts = Array.from({ length: 5_000 }, (_, index) => ({ targetingKey: `user-${index}` }));
    const { body } = await sendMsgpack(`${dev.evaluateUrl}/v1/evaluate/batch`, {
      key: dev.serverKey,
      body: { contexts, flags: ['search-tuning'] },
    });
    const results = Array.isArray(body.results) ? body.results : [];
    expect(results).toHaveLength(5_000);
    const share = results.filter(({ variation }) => variation === 'v2').length / results.length;
    // Four standard deviations of 5 000 draws at 20 %.
    expect(Math.abs(share - 0.2)).toBeLessThan(0.023);
  });

  it('serves a change made over the admin API at the revision that the write answered', async () => {
    const before = await sendJson(targetingUrl('new-checkout'), { key: admin });
    const written = await sendJson(targetingUrl('new-checkout'), {
      method: 'PATCH',
      key: admin,
      headers: { 'content-type': 'application/merge-patch+json', 'if-match': before.headers.get('etag') ?? '' },
      body: { on: false },
    });
    expect(written.status).toBe(200);
    const answer = await sendMsgpack(`${dev.evaluateUrl}/v1/evaluate`, {
      key: dev.serverKey,
      body: { flags: 'new-checkout', context: { targetingKey: 'user-1' }, minRevision: written.body.revision },
    });
    expect(answer.body).toEqual({
      revision: written.body.revision,
      flag: 'new-checkout',
      value: false,
      variation: 'off',
      reason: 'DISABLED',
    });
  });

  it('keeps data and keys over a restart, and shows the setup link no more', async () => {
    const { body: before } = await evaluate('new-checkout', { targetingKey: 'user-1' });
    expect(await dev.process.stop('SIGINT')).toBe(0);
    const { serverKey } = dev;
    dev = await startDev(folder.path);
    expect(dev.serverKey).toBe(serverKey);
    expect(dev.setupUrl).toBeUndefined();
    expect((await evaluate('new-checkout', { targetingKey: 'user-1' })).body).toEqual(before);
  });

  it('keeps its keys readable by the owner alone', () => {
    expect(statSync(join(folder.path, 'dev-keys.json')).mode & 0o077).toBe(0);
  });

  it('takes the next free port and says so', async () => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => blocker.once('listening', resolve));
    const address = blocker.address();
    const taken = typeof address === 'object' && address !== null ? address.port : 0;
    const other = temporaryFolder('dev-port');
    const second = await startDev(other.path, ['--port', String(taken)]);
    expect(second.process.output).toContain(`(port ${taken} was taken)`);
    expect(await second.process.stop('SIGTERM')).toBe(0);
    blocker.close();
    other.remove();
  });

  it.each(['{garbage', 'null', '{}', '{"tenantId":1}'])(
    'ends at once when dev-keys.json holds %j, and names the file',
    async (text) => {
      const other = temporaryFolder('dev-keys');
      writeFileSync(join(other.path, 'dev-keys.json'), text);
      const second = new GuidonProcess([
        'dev',
        '--data',
        other.path,
        '--admin-port',
        '0',
        '--port',
        '0',
        '--metrics-port',
        '0',
      ]);
      expect(await second.exitStatus()).toBe(78);
      expect(second.output).toContain(join(other.path, 'dev-keys.json'));
      other.remove();
    },
  );

  it('makes the demo anew when its keys outlived the store', async () => {
    const other = temporaryFolder('dev-anew');
    const first = await startDev(other.path);
    await first.process.stop();
    rmSync(join(other.path, 'control-plane'), { recursive: true });
    rmSync(join(other.path, 'node'), { recursive: true });
    const second = await startDev(other.path);
    expect(second.serverKey).not.toBe(first.serverKey);
    const { stdout } = await run('sh', ['-c', second.curlLine]);
    expect(JSON.parse(stdout)).toMatchObject({ value: 'Willkommen' });
    await second.process.stop();
    other.remove();
  });

  it('ends when signing keys are missing beside a store, instead of making keys that no node trusts', async () => {
    const other = temporaryFolder('dev-signing');
    const first = await startDev(other.path);
    await first.process.stop();
    rmSync(join(other.path, 'control-plane', 'keys'), { recursive: true });
    const second = new GuidonProcess([
      'dev',
      '--data',
      other.path,
      '--admin-port',
      '0',
      '--port',
      '0',
      '--metrics-port',
      '0',
    ]);
    expect(await second.exitStatus()).toBe(78);
    expect(second.output).toMatch(/keys\/\S+ is missing although there is a store/);
    other.remove();
  });

  it('refuses a second start on the same data with a sentence that says why', async () => {
    const second = new GuidonProcess([
      'dev',
      '--data',
      folder.path,
      '--admin-port',
      '0',
      '--port',
      '0',
      '--metrics-port',
      '0',
    ]);
    expect(await second.exitStatus()).not.toBe(0);
    expect(second.output).toMatch(/already|another process|in use/);
    expect(second.output).not.toMatch(/^\s+at /m);
  });
});

describe('guidon', () => {
  it.each([
    [['--port', 'x'], 'dev', /A port is a number/],
    [['--port', ''], 'control-plane', /A port is a number/],
    [['--port', '0x10'], 'dev', /A port is a number/],
    [['--inline-cost-max', '4294967296'], 'dev', /0 to 999999999; 0 = nothing goes/],
    [[], 'server', /--control-plane/],
    [['--control-plane', 'ftp://x', '--node-credential-file', 'y'], 'server', /Give a URL/],
    [['--control-plane', 'http://u:p@x', '--node-credential-file', 'y'], 'server', /without credentials, query/],
    [['--control-plane', 'http://x/?a=1', '--node-credential-file', 'y'], 'server', /without credentials, query/],
    [['--data', ''], 'dev', /must not be empty/],
    [['--host', ' '], 'control-plane', /must not be empty/],
    [['--nonsense'], 'dev', /unknown option/],
  ])('refuses %j for %s with status 64 and what to do', async (args, command, message) => {
    const process = new GuidonProcess([command, ...args]);
    expect(await process.exitStatus()).toBe(64);
    expect(process.output).toMatch(message);
  });

  it.each([
    ['hello', [], /does not hold a node credential/],
    [generateCredential('srv').token, [], /does not hold a node credential/],
    [generateCredential('node').token, ['--trust-root', 'zzz'], /--trust-root must be/],
  ])('refuses the node credential %j with %j at start', async (credential, more, message) => {
    const other = temporaryFolder('node-key');
    writeFileSync(join(other.path, 'node.key'), credential);
    const args = [
      'server',
      '--control-plane',
      'http://127.0.0.1:1',
      '--node-credential-file',
      join(other.path, 'node.key'),
      ...more,
    ];
    const process = new GuidonProcess(args);
    expect(await process.exitStatus()).toBe(78);
    expect(process.output).toMatch(message);
    other.remove();
  });

  it('a control plane that cannot write the node credential ends instead of listening on', async () => {
    const other = temporaryFolder('no-node-key');
    const args = ['--data', join(other.path, 'cp'), '--port', '0', '--node-credential-file', '/dev/null/node.key'];
    const process = new GuidonProcess(['control-plane', ...args]);
    expect(await process.exitStatus()).toBe(1);
    expect(process.output).toContain('/dev/null');
    other.remove();
  });

  it('names the file that must hold the node credential', async () => {
    const process = new GuidonProcess([
      'server',
      '--control-plane',
      'http://127.0.0.1:1',
      '--node-credential-file',
      '/nowhere/node.key',
    ]);
    expect(await process.exitStatus()).toBe(78);
    expect(process.output).toContain('/nowhere/node.key does not exist');
  });
});
