import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Chromium, openPage } from '../support/chromium.js';
import { TestControlPlane } from '../support/control-plane.js';
import { aFlag } from '../support/flag-sets.js';
import { OpenFeatureNode } from '../support/openfeature-node.js';
import { PageServer } from '../support/page-server.js';
import { untilAccepted, untilCurrent } from '../support/running-node.js';

/** Every sample of docs/openfeature.md, as it stands there, against real parts. */
const run = promisify(execFile);
const page = readFileSync(new URL('../../docs/openfeature.md', import.meta.url), 'utf8');
const samples = (language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map(([, code]) => code ?? '');
const [server = '', telemetry = '', web = ''] = samples('ts');
const [ofrep = '', manifest = ''] = samples('sh');

let platform: OpenFeatureNode;
let key: string;
let environment: Record<string, string>;

beforeAll(async () => {
  platform = await OpenFeatureNode.start();
  const own = platform.feed.addEnvironment('samples');
  const german = { attribute: 'country', op: 'in', values: ['DE'] } as const;
  await own.publish([
    aFlag('new-checkout', {
      type: 'boolean',
      variations: [
        { key: 'yes', value: true },
        { key: 'no', value: false },
      ],
      offVariation: 'no',
      rules: [{ id: 'german', when: german, serve: { variation: 'yes' } }],
    }),
    aFlag('theme', { clientSide: true }),
  ]);
  key = await own.issueCredential('srv');
  await untilCurrent(platform.node, own);
  await untilAccepted(platform.node, key);
  environment = {
    PATH: process.env.PATH ?? '',
    GUIDON_URL: platform.url,
    GUIDON_KEY: key,
    GUIDON_TRUST_ROOT: platform.feed.trustRoot,
    OFREP_ENDPOINT: platform.url,
  };
});
afterAll(() => platform.stop());

async function runModule(source: string): Promise<string> {
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const child = run(process.execPath, ['--input-type=module', '--eval', source], {
    cwd,
    env: environment,
    timeout: 60_000,
  });
  return (await child).stdout;
}

async function runShell(source: string, env: Record<string, string>): Promise<unknown> {
  const { stdout } = await run('bash', ['-euc', source], { env, timeout: 60_000 });
  return JSON.parse(stdout);
}

describe('docs/openfeature.md', () => {
  it('has samples of ten lines', () => {
    expect([samples('ts').length, samples('sh').length]).toEqual([3, 2]);
    for (const sample of [server, web, ofrep]) {
      const lines = sample
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('import ') && !line.startsWith('//'));
      expect(lines.length).toBeLessThanOrEqual(10);
    }
  });

  it('starts on a server', async () => {
    expect(await runModule(server)).toBe('the new checkout\nSTATIC\n');
  });

  it('adds the hook of OpenTelemetry', async () => {
    const probe = `${telemetry}\nconsole.log(OpenFeature.getHooks().map((hook) => hook.constructor.name).join());`;
    expect(await runModule(probe)).toBe('OpenTelemetryHook\n');
  });

  it('starts in a page', async () => {
    const [chromium, pages] = await Promise.all([Chromium.start(), PageServer.start()]);
    try {
      const own = platform.feed.environments.get('env-samples');
      const webKey = (await own?.issueCredential('web', { allowedOrigins: [pages.origin] })) ?? '';
      await untilAccepted(platform.node, webKey);
      const source = web.replace('https://flags.example.com', platform.url).replace('gdn_web_…', webKey);
      const url = await pages.addApp('/sample', 'openfeature/pages/sample.ts', { source });
      const opened = await openPage(await chromium.profile(), url);
      await opened.page.waitForFunction(() => document.title === 'no');
      await own?.publish([aFlag('theme', { clientSide: true, fallthrough: { variation: 'yes' } })]);
      await opened.page.waitForFunction(() => document.title === 'yes');
      expect(opened.errors).toEqual([]);
    } finally {
      await chromium.close();
      await pages.close();
    }
  });

  it('asks over OFREP', async () => {
    expect(await runShell(ofrep, environment)).toMatchObject({
      key: 'new-checkout',
      value: true,
      variant: 'yes',
      reason: 'TARGETING_MATCH',
    });
  });

  it('reads a manifest', async () => {
    const plane = await TestControlPlane.start();
    try {
      const { project, token } = await plane.seed();
      await plane.must('POST', `${project}/flags`, { body: { key: 'new-checkout', type: 'boolean' } });
      const env = { ...environment, PROJECT_URL: plane.running.url + project, GUIDON_ADMIN_KEY: token };
      expect(await runShell(manifest, env)).toEqual({
        flags: [{ key: 'new-checkout', name: 'new-checkout', type: 'boolean', description: '', defaultValue: false }],
      });
    } finally {
      await plane.dispose();
    }
  });
});
