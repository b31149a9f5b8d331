import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DevProcess, startDev } from '../support/dev-process.js';
import { GuidonProcess, REPOSITORY, temporaryFolder } from '../support/guidon-process.js';

/**
 * Runs the README as a newcomer would, block by block, in a folder that has `cli` and `data` where the README expects them. Only ports
 * are exchanged for the free ones that this run got. What installs and builds (`npm ci`, `npm start`, `npm test`) is what .ci/run and
 * this very test run are made of; that is asserted instead of done again.
 */
const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
const folder = temporaryFolder('readme');
const variables: Record<string, string> = {};
let dev: DevProcess;

/** Runs one block in bash with the variables of the blocks before it; fails on any failing command in it. */
function runBlock(block: string, options: { cwd?: string; secondsMax?: number } = {}): string {
  const script = `set -euo pipefail\n${withOurPorts(block)}\nprintf '\\n%s' '--variables--'\nfor v in SERVER_KEY ADMIN_KEY TENANT PROJECT TARGETING ETAG REVISION; do printf '\\n%s=%s' $v "\${!v-}"; done`;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], {
    cwd: options.cwd ?? folder.path,
    env: { ...process.env, ...variables },
    encoding: 'utf8',
    timeout: (options.secondsMax ?? 30) * 1_000,
  });
  expect(status, `${block}\n${stdout}\n${stderr}`).toBe(0);
  const [output = '', rest = ''] = stdout.split('\n--variables--');
  for (const line of rest.trim().split('\n')) {
    const [name = '', ...value] = line.split('=');
    if (value.join('=') !== '') variables[name] = value.join('=');
  }
  return output;
}

function withOurPorts(block: string): string {
  return block.replaceAll('http://127.0.0.1:4300', dev.evaluateUrl).replaceAll('http://127.0.0.1:4200', dev.adminUrl);
}

function blockWith(text: string): string {
  const block = blocks.find((candidate) => candidate.includes(text));
  expect(block, `the README has a block with ${text}`).toBeDefined();
  return block ?? '';
}

beforeAll(async () => {
  symlinkSync(join(REPOSITORY, 'cli'), join(folder.path, 'cli'));
  dev = await startDev(join(folder.path, 'data'));
  variables.SETUP_TOKEN = new URL(dev.setupUrl ?? '').hash.slice(1);
});
afterAll(async () => {
  await dev.process.stop();
  folder.remove();
});

describe('README', () => {
  it('starts and tests with the commands that CI and this test run', () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(
      readFileSync(join(REPOSITORY, 'package.json'), 'utf8'),
    );
    expect(blockWith('npm start')).toBe('npm ci && npm start\n');
    expect(blockWith('npm test')).toBe('npm ci && npm test\n');
    expect(scripts.start).toMatch(/node cli\/dist\/main\.js dev$/);
    expect(readFileSync(join(REPOSITORY, '.ci/run'), 'utf8')).toMatch(/npm ci[^\n]*\nnpm test\n$/);
  });

  it('evaluates the first flag as printed', () => {
    const answer: unknown = JSON.parse(runBlock(blockWith('SERVER_KEY=')));
    const printed: object = JSON.parse(/```json\n([\s\S]*?)```/.exec(readme)?.[1] ?? '');
    expect(answer).toEqual({ ...printed, revision: expect.any(Number) });
  });

  it('explains', () => {
    expect(JSON.parse(runBlock(blockWith('/v1/explain')))).toMatchObject({
      explanation: { result: { flag: 'greeting', variation: 'plain' } },
    });
  });

  it('sets up the first admin, makes a flag, turns it on and evaluates it', () => {
    runBlock(blockWith('ADMIN_KEY='));
    const output = runBlock(blockWith('dark-mode'));
    expect(output).toMatch(/"flag":"dark-mode","value":(true|false),"variation":"(on|off)","reason":"SPLIT"\}$/);
  });

  it('serves the API reference and the OpenAPI document', async () => {
    expect((await fetch(`${dev.adminUrl}/docs`)).status).toBe(200);
    expect(await (await fetch(`${dev.adminUrl}/openapi.json`)).json()).toMatchObject({
      openapi: expect.stringMatching(/^3\.1/),
    });
  });

  it('runs the two processes', async () => {
    const argsOf = (block: string) =>
      block
        .replaceAll('\\\n', ' ')
        .replaceAll('./data/', `${folder.path}/two/`)
        .replace(/--(port|metrics-port) \d+/g, '--$1 0')
        .trim()
        .split(/\s+/)
        .slice(2);
    const controlPlane = new GuidonProcess(argsOf(blockWith('main.js control-plane')));
    const url = (await controlPlane.waitFor(/control plane: (http\S+)/))[1] ?? '';
    await controlPlane.waitFor(/trust root/);
    const node = new GuidonProcess(argsOf(blockWith('main.js server').replace('http://127.0.0.1:4210', url)));
    await node.waitFor(/data plane: http/);
    expect(await node.stop()).toBe(0);
    expect(await controlPlane.stop()).toBe(0);
  });

  it('benches', () => {
    for (const command of blockWith('npm run bench:engine').trim().split('\n')) {
      const output = runBlock(`${command} -- --quick`, { cwd: REPOSITORY, secondsMax: 120 });
      expect(JSON.parse(output.trim().split('\n').at(-1) ?? '')).toBeTypeOf('object');
    }
  }, 240_000);

  it('every block is covered above, every link leads somewhere', () => {
    const covered = [
      'npm start',
      'SERVER_KEY=',
      '/v1/explain',
      'ADMIN_KEY=',
      'dark-mode',
      'main.js control-plane',
      'main.js server',
      'npm test',
      'bench:engine',
    ];
    for (const block of blocks)
      expect(
        covered.some((text) => block.includes(text)),
        block,
      ).toBe(true);
    for (const [, path = '', heading] of readme.matchAll(/\]\((docs[^)#]*)(?:#([^)]*))?\)/g)) {
      expect(existsSync(join(REPOSITORY, path)), path).toBe(true);
      if (heading !== undefined) expect(headingsOf(path), path).toContain(heading);
    }
  });
});

/** As links name them. */
function headingsOf(path: string): string[] {
  const text = readFileSync(join(REPOSITORY, path), 'utf8');
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(' ', '-')
      .replace(/[^a-z0-9-]/g, ''),
  );
}
