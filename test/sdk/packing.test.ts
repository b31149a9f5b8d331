import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REPOSITORY } from '../support/guidon-process.js';
import { PackedProject } from '../support/packed-project.js';
import { StreamedPlatform, type StreamedTenant } from '../support/streamed-platform.js';

/** The packages as they would be published: packed, installed into an empty project, type-checked and run there. */

const PACKAGES = ['protocol', 'engine', 'assembly', 'sdk/core', 'sdk/server', 'sdk/browser', 'sdk/react'];
/** What they bring, and the peer of one. */
const BROUGHT = ['ws', 're2js', 'react'];

let packed: PackedProject;
let platform: StreamedPlatform;
let tenant: StreamedTenant;

beforeAll(async () => {
  packed = await PackedProject.create(PACKAGES, BROUGHT);
  platform = await StreamedPlatform.start();
  tenant = await platform.addTenant('acme', ['theme']);
}, 120_000);
afterAll(async () => {
  await platform.close();
  packed.remove();
});

const checkAndRun = (name: string, source: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
  packed.checkAndRun(name, source, env);

/** The samples of a page, in order. */
function samplesOf(page: string): string[] {
  const text = readFileSync(join(REPOSITORY, 'docs', page), 'utf8');
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, sample]) => sample ?? '');
}

describe('the packages', () => {
  test('bring nothing else, nothing native, and no install script', () => {
    const installed = readdirSync(join(packed.folder, 'node_modules'), { withFileTypes: true, recursive: true });
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

  test.each(PACKAGES)('publint and attw find nothing wrong with %s', (name) => packed.checkPackage(name));

  test('the first sample of docs/sdk-server.md compiles and runs against a node', async () => {
    const [sample = ''] = samplesOf('sdk-server.md');
    expect(sample.trim().split('\n').length).toBeLessThanOrEqual(12);
    const printed = await checkAndRun('start', sample, {
      GUIDON_URL: platform.server.url,
      GUIDON_KEY: tenant.srv,
      GUIDON_TRUST_ROOT: platform.plane.running.trustRoot,
    });
    expect(printed).toBe('acme-theme-off DISABLED undefined\n');
    expect(readdirSync(join(packed.folder, 'flags'))).toHaveLength(1);
  });

  test('the second sample, of tests, compiles and runs', async () => {
    expect(await checkAndRun('tests', samplesOf('sdk-server.md')[1] ?? '')).toBe('false 1\n');
  });

  test('a flag of another type, or a misspelt one, does not compile once flags have types', async () => {
    const source = `import { createTestClient as createPageClient } from '@guidon/browser-sdk';
import { createTestClient } from '@guidon/server-sdk';
declare module '@guidon/sdk-core' {
  interface FlagTypes { gate: boolean; theme: 'dark' | 'light' }
}
const flags = createTestClient({ gate: true });
const pageFlags = createPageClient({ gate: true });
const pageTheme: 'dark' | 'light' = pageFlags.string('theme', 'light');
const theme: 'dark' | 'light' = flags.string('theme', {}, 'light');
console.log(flags.boolean('gate', {}, false), theme);
if (!pageFlags.boolean('gate', false) || pageTheme !== 'light') throw new Error('in a page');
`;
    expect(await checkAndRun('typed', source)).toBe('true light\n');
    for (const wrong of [
      `flags.boolean('gat', {}, false)`,
      `flags.boolean('theme', {}, false)`,
      `flags.string('theme', {}, 'blue')`,
      `pageFlags.boolean('gat', false)`,
      `pageFlags.string('theme', 'blue')`,
    ]) {
      await expect(checkAndRun('wrong', `${source}${wrong};\n`)).rejects.toThrow(/error TS/);
    }
  }, 120_000);
});

describe('the packages for pages', () => {
  const OURS = ['protocol', 'sdk/core', 'sdk/browser', 'sdk/react'];
  let pages: PackedProject;
  beforeAll(async () => {
    pages = await PackedProject.create(OURS, ['react']);
  }, 120_000);
  afterAll(() => pages.remove());

  test.each(['sdk/browser', 'sdk/react'])(
    'publint and attw find nothing wrong with %s',
    (name) => pages.checkPackage(name),
    60_000,
  );

  test('are installed without the engine, and run where there is no page', async () => {
    const source = `import { createTestClient } from '@guidon/browser-sdk';
const flags = createTestClient({ gate: true });
console.log(flags.boolean('gate', false));
`;
    expect(await pages.checkAndRun('page', source, {}, ['--lib', 'es2023,dom,dom.iterable'])).toBe('true\n');
    expect(readdirSync(join(pages.folder, 'node_modules/@guidon')).sort()).toEqual([
      'browser-sdk',
      'protocol',
      'react',
      'sdk-core',
    ]);
  }, 60_000);
});
