import { execFileSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EventMessage, encodeEventMessage } from '@guidon/protocol/events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { GuidonProcess, REPOSITORY, temporaryFolder } from '../support/guidon-process.js';

/** `guidon flags usage` and `guidon typegen` against a running control plane. */
let plane: TestControlPlane;
let seed: Seed;
const folder = temporaryFolder('flags-command');

beforeAll(async () => {
  plane = await TestControlPlane.start();
  seed = await plane.seed();
  const create = (body: unknown) => plane.must('POST', `${seed.project}/flags`, { body });
  await create(booleanFlag('new-checkout'));
  await create({
    key: 'theme',
    type: 'string',
    variations: [
      { key: 'd', value: 'dark "mode"' },
      { key: 'l', value: 'light' },
    ],
  });
  await create({ key: 'limit', type: 'number', variations: [1, 2].map((value) => ({ key: `v${value}`, value })) });
  await create({
    key: 'banner',
    type: 'json',
    variations: [
      { key: 'a', value: { text: 'hi', colours: ['red'], size: 3 } },
      { key: 'b', value: { text: 'ho', colours: [], size: null } },
    ],
  });
  await create({
    key: 'layout',
    type: 'json',
    valueSchema: {
      type: 'object',
      properties: { mode: { enum: ['wide', 'narrow'] }, columns: { type: 'integer' }, note: { type: 'string' } },
      required: ['mode', 'columns'],
      additionalProperties: false,
    },
    variations: [
      { key: 'a', value: { mode: 'wide', columns: 3 } },
      { key: 'b', value: { mode: 'narrow', columns: 1, note: 'small' } },
    ],
  });
}, 60_000);
afterAll(async () => {
  await plane.dispose();
  folder.remove();
});

async function guidon(args: readonly string[], environment = {}): Promise<{ status: number | null; output: string }> {
  const where = ['--control-plane', plane.running.url, '--tenant', seed.tenantId, '--project', 'shop'];
  const command = new GuidonProcess([...args, ...where], { GUIDON_ADMIN_TOKEN: plane.admin, ...environment });
  const status = await command.exitStatus();
  return { status, output: command.output };
}

describe('guidon flags usage', () => {
  const usage = ['flags', 'usage', '--environment', 'dev'];

  beforeAll(async () => {
    const message: EventMessage = {
      environment: { tenantId: seed.tenantId, projectId: await projectId(), environmentId: seed.dev.id } as never,
      origin: 'srv',
      receivedAt: 1,
      events: [
        {
          id: 'summary-0000000000001',
          kind: 'summary',
          from: 0,
          to: Date.now(),
          counts: [
            { flag: 'theme', variation: 'd', count: 12 },
            { flag: 'theme', variation: null, errorCode: 'TYPE_MISMATCH', count: 3 },
            { flag: 'thme', variation: null, errorCode: 'FLAG_NOT_FOUND', count: 4 },
          ],
        },
      ],
    };
    const token = await plane.running.issueNodeCredential('node');
    const headers = { 'content-type': 'application/x-ndjson' };
    const raw = `${encodeEventMessage(message)}\nno message\n`;
    const answer = await plane.must('POST', '/internal/v1/events', { token, headers, raw });
    expect(answer.body).toEqual({ accepted: 1, duplicates: 0, homeless: 0 });
    // Again, and of an environment that is another tenant's.
    const foreign = encodeEventMessage({
      ...message,
      environment: { ...message.environment, tenantId: 'ten_other' as never },
    });
    const again = { token, headers, raw: `${encodeEventMessage(message)}\n${foreign}\n` };
    expect((await plane.must('POST', '/internal/v1/events', again)).body).toEqual({
      accepted: 0,
      duplicates: 1,
      homeless: 1,
    });
  });

  it('lists what was evaluated and what is not there', async () => {
    const { status, output } = await guidon(usage);
    expect(status).toBe(0);
    expect(output).toMatch(/^FLAG +LAST EVALUATED +EVALUATIONS +ERRORS +EXPOSURES\ntheme +20\S+Z +12 +3 +0\n/);
    expect(output).toContain('"thme", 4 times');
  });

  it('says of one flag what it answered', async () => {
    const { output } = await guidon(['flags', 'usage', 'theme', '--environment', 'dev']);
    expect(output).toMatch(/evaluations +d +12\nerrors +TYPE_MISMATCH +3\n/);
    expect((await guidon(['flags', 'usage', 'limit', '--environment', 'dev'])).output).toContain(
      'last evaluated never',
    );
  });

  it('prints JSON', async () => {
    const { output } = await guidon([...usage, '--output', 'json']);
    expect(JSON.parse(output)).toMatchObject({
      flags: [{ flag: 'theme', evaluations: 12, errors: 3, exposures: 0 }],
      unknownFlags: [{ flag: 'thme', count: 4 }],
    });
  });

  it.each([
    [
      'no token',
      usage,
      { GUIDON_ADMIN_TOKEN: '' },
      78,
      /give an admin token: --token-file FILE, or GUIDON_ADMIN_TOKEN/,
    ],
    ['another token', usage, { GUIDON_ADMIN_TOKEN: 'gdn_adm_x' }, 78, /was refused: 401 invalid-credentials: /],
    [
      'an environment that is not there',
      ['flags', 'usage', '--environment', 'none'],
      {},
      78,
      /was refused: 404 not-found: /,
    ],
    [
      'a flag that is not there',
      ['flags', 'usage', 'none', '--environment', 'dev'],
      {},
      78,
      /was refused: 404 not-found: /,
    ],
    ['no environment', ['flags', 'usage'], {}, 64, /--environment/],
    ['another form', [...usage, '--output', 'xml'], {}, 64, /table, json/],
  ])('ends when it is given %s', async (_name, args, environment, status, sentence) => {
    const ended = await guidon(args, environment);
    expect(ended).toEqual({ status, output: expect.stringMatching(sentence) });
  });
});

async function projectId(): Promise<string> {
  return String((await plane.must('GET', seed.project)).body.id);
}

describe('guidon typegen', () => {
  const GOOD = `
    const on: boolean = server.boolean('new-checkout', context, false);
    const theme: 'dark "mode"' | 'light' = server.string('theme', context, 'light');
    const limit: number = server.number('limit', context, 9);
    const size: number | null = server.json('banner', context, { text: '', colours: ['x'], size: 1 }).size;
    const mode: 'wide' | 'narrow' = server.json('layout', context, { mode: 'wide', columns: 2 }).mode;
    const note: string | undefined = server.json('layout', context, { mode: 'wide', columns: 2 }).note;
    const seen: boolean = page.boolean('new-checkout', true);
    const shown: 'dark "mode"' | 'light' = page.string('theme', 'light');
    export default [on, theme, limit, size, mode, note, seen, shown];`;
  const BAD = [
    `server.boolean('new-chekout', context, false)`,
    `server.boolean('theme', context, false)`,
    `server.boolean('new-checkout', context, 'no')`,
    `server.string('theme', context, 'pink')`,
    `server.number('limit', context, '9')`,
    `server.json('banner', context, { text: 1, colours: [], size: 1 })`,
    `server.json('layout', context, { mode: 'wide' })`,
    `server.json('layout', context, { mode: 'tall', columns: 1 })`,
    `page.boolean('new-chekout', true)`,
    `page.boolean('new-checkout', 'yes')`,
    `page.number('theme', 1)`,
  ];
  const HEAD = `
    import type { BrowserClient } from '@guidon/browser-sdk';
    import type { GuidonClient } from '@guidon/server-sdk';
    declare const server: GuidonClient;
    declare const page: BrowserClient;
    const context = { targetingKey: 'u' };`;

  it('makes misspelt keys and wrong defaults compile errors in both SDKs, and nothing else', async () => {
    const file = join(folder.path, 'flags.d.ts');
    const { status, output } = await guidon(['typegen', '--output', file]);
    expect({ status, output }).toEqual({ status: 0, output: `${file}: 5 flags\n` });
    expect(readFileSync(file, 'utf8')).toContain(`readonly "theme": "dark \\"mode\\"" | "light";`);
    symlinkSync(join(REPOSITORY, 'node_modules'), join(folder.path, 'node_modules'));
    const files = BAD.map((statement, index) => [`bad-${index}.ts`, `${HEAD}\n${statement};`] as const);
    for (const [name, text] of [['good.ts', `${HEAD}${GOOD}`] as const, ...files]) {
      writeFileSync(join(folder.path, name), text);
    }
    const options = {
      strict: true,
      noEmit: true,
      module: 'nodenext',
      target: 'es2023',
      skipLibCheck: false,
      types: ['node'],
    };
    const include = ['flags.d.ts', 'good.ts', ...files.map(([name]) => name)];
    writeFileSync(join(folder.path, 'package.json'), '{"type": "module"}');
    writeFileSync(
      join(folder.path, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { ...options, lib: ['es2023', 'dom'] }, include }),
    );
    const errors = compile(folder.path);
    const failed = new Set([...errors.matchAll(/^(\S+?\.ts)\(/gm)].map(([, name = '']) => name));
    expect([...failed].sort(), errors).toEqual(files.map(([name]) => name).sort());
  });

  it('says when it cannot write, and has no more than what it may read', async () => {
    const nowhere = await guidon(['typegen', '--output', join(folder.path, 'none', 'flags.d.ts')]);
    expect(nowhere).toEqual({ status: 78, output: expect.stringContaining('cannot be written') });
    expect((await guidon(['typegen'])).status).toBe(64);
  });
});

/** What the compiler says. */
function compile(directory: string): string {
  try {
    return execFileSync(process.execPath, [join(REPOSITORY, 'node_modules/typescript/bin/tsc'), '-p', directory], {
      encoding: 'utf8',
      cwd: directory,
    });
  } catch (error) {
    return String(Reflect.get(Object(error), 'stdout'));
  }
}
