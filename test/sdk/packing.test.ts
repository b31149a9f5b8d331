import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REPOSITORY } from '../support/guidon-process.js';
import { StreamedPlatform, type StreamedTenant } from '../support/streamed-platform.js';

/** The packages as they would be published: packed, installed into an empty project, type-checked and run there. */

const run = promisify(execFile);
const PACKAGES = ['protocol', 'engine', 'assembly', 'sdk/core', 'sdk/server'];
/** What they bring: packed from what is installed here, so that no registry is asked. */
const BROUGHT = ['ws', 're2js'];
const QUIET = { env: { ...process.env, npm_config_loglevel: 'error' }, maxBuffer: 64 * 1024 * 1024 };

let folder: string;
let project: string;
let platform: StreamedPlatform;
let tenant: StreamedTenant;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'guidon-packed-'));
  project = join(folder, 'project');
  mkdirSync(project);
  const sources = [
    ...PACKAGES.map((name) => join(REPOSITORY, name)),
    ...BROUGHT.map((name) => join(REPOSITORY, 'node_modules', name)),
  ];
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder, ...sources], QUIET);
  writeFileSync(
    join(project, 'package.json'),
    '{"name": "empty", "version": "1.0.0", "type": "module", "private": true}',
  );
  const tarballs = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  const install = ['install', '--offline', '--no-audit', '--no-fund', ...tarballs.map((name) => join(folder, name))];
  await run('npm', install, { ...QUIET, cwd: project });
  platform = await StreamedPlatform.start();
  tenant = await platform.addTenant('acme', ['theme']);
}, 120_000);
afterAll(async () => {
  await platform.close();
  rmSync(folder, { recursive: true });
});

/** Type-checks `source` in the project, strictly and with the packages' declarations, and runs it. Resolves with what it printed. */
async function checkAndRun(name: string, source: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  writeFileSync(join(project, `${name}.ts`), source);
  const tsc = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
  const options = ['--strict', '--target', 'es2023', '--module', 'nodenext', '--outDir', 'out', '--types', ''];
  const checked = await run(process.execPath, [tsc, ...options, `${name}.ts`], { cwd: project }).catch(
    (error: unknown) => Promise.reject(new Error(Object.values(error as { stdout: string }).join('\n'))),
  );
  expect(checked.stdout).toBe('');
  const { stdout } = await run(process.execPath, [join('out', `${name}.js`)], {
    cwd: project,
    env: { ...process.env, ...env },
  });
  return stdout;
}

/** The samples of a page, in order. */
function samplesOf(page: string): string[] {
  const text = readFileSync(join(REPOSITORY, 'docs', page), 'utf8');
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, sample]) => sample ?? '');
}

describe('the packages', () => {
  test('bring nothing else, nothing native, and no install script', () => {
    const installed = readdirSync(join(project, 'node_modules'), { withFileTypes: true, recursive: true });
    const packages = installed.filter(({ name }) => name === 'package.json').map(({ parentPath }) => parentPath);
    expect(packages).toHaveLength(PACKAGES.length + BROUGHT.length);
    for (const path of packages) {
      const { scripts = {} } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
      for (const name of ['preinstall', 'install', 'postinstall']) expect(scripts[name], path).toBeUndefined();
    }
    expect(
      installed.filter(({ name }) => /\.(node|ts|map|tsbuildinfo)$/.test(name) && !name.endsWith('.d.ts')),
    ).toEqual([]);
  });

  test.each(PACKAGES)('publint and attw find nothing wrong with %s', async (name) => {
    const manifest = JSON.parse(readFileSync(join(REPOSITORY, name, 'package.json'), 'utf8'));
    const tarball = join(folder, `${manifest.name.slice(1).replace('/', '-')}-${manifest.version}.tgz`);
    const publint = join(REPOSITORY, 'node_modules/publint/src/cli.js');
    const { stdout } = await run(process.execPath, [publint, 'run', tarball, '--strict'], { ...QUIET, cwd: folder });
    expect(stdout).toMatch(/All good/);
    // The kernel is bytes: it has no types.
    if (name === 'assembly') return;
    const attw = join(REPOSITORY, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    await run(process.execPath, [attw, tarball, '--profile', 'esm-only', '--no-emoji', '--quiet'], QUIET);
  });

  test('the first sample of docs/sdk-server.md compiles and runs against a node', async () => {
    const [sample = ''] = samplesOf('sdk-server.md');
    expect(sample.trim().split('\n').length).toBeLessThanOrEqual(12);
    const printed = await checkAndRun('start', sample, {
      GUIDON_URL: platform.server.url,
      GUIDON_KEY: tenant.srv,
      GUIDON_TRUST_ROOT: platform.plane.running.trustRoot,
    });
    expect(printed).toBe('acme-theme-off DISABLED undefined\n');
    expect(readdirSync(join(project, 'flags'))).toHaveLength(1);
  });

  test('the second sample, of tests, compiles and runs', async () => {
    expect(await checkAndRun('tests', samplesOf('sdk-server.md')[1] ?? '')).toBe('false 1\n');
  });

  test('a flag of another type, or a misspelt one, does not compile once flags have types', async () => {
    const source = `import { createTestClient } from '@guidon/server-sdk';
declare module '@guidon/sdk-core' {
  interface FlagTypes { gate: boolean; theme: 'dark' | 'light' }
}
const flags = createTestClient({ gate: true });
const theme: 'dark' | 'light' = flags.string('theme', {}, 'light');
console.log(flags.boolean('gate', {}, false), theme);
`;
    expect(await checkAndRun('typed', source)).toBe('true light\n');
    for (const wrong of [
      `flags.boolean('gat', {}, false)`,
      `flags.boolean('theme', {}, false)`,
      `flags.string('theme', {}, 'blue')`,
    ]) {
      await expect(checkAndRun('wrong', `${source}${wrong};\n`)).rejects.toThrow(/error TS/);
    }
  });
});
