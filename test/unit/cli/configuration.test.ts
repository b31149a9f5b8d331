import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateCredential } from '@guidon/protocol/signed-config';
import { afterAll, describe, expect, it } from 'vitest';
import { GUIDON_MAIN, REPOSITORY, temporaryFolder } from '../../support/guidon-process.js';

/** Configuration as an operator gives it to the real command; nothing is started. */
const folder = temporaryFolder('configuration');
afterAll(() => folder.remove());

let fileCount = 0;
function configFile(text: string): string {
  fileCount += 1;
  const path = join(folder.path, `${fileCount}.json`);
  writeFileSync(path, text);
  return path;
}

interface Printed {
  readonly [option: string]: { readonly value: unknown; readonly from: string };
}

function guidon(args: string[], environment: NodeJS.ProcessEnv = {}): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [GUIDON_MAIN, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...environment },
    cwd: folder.path,
    timeout: 20_000,
  });
  return { status, output: stdout + stderr };
}

function printed(args: string[], environment: NodeJS.ProcessEnv = {}): Printed {
  const { status, output } = guidon([...args, '--print-config'], environment);
  expect(status, output).toBe(0);
  return JSON.parse(output);
}

describe('where an option comes from', () => {
  it('its flag, else its variable, else the file, else its default', () => {
    const file = configFile(
      '{"port": 1, "host": "127.0.0.2", "log-level": "info", "quotas": {"tenant": {"connections": 5}}}',
    );
    const config = printed(['server', '--config', file, '--port', '3'], { GUIDON_PORT: '2', GUIDON_HOST: '127.0.0.3' });
    expect(config).toMatchObject({
      port: { value: 3, from: 'flag --port' },
      host: { value: '127.0.0.3', from: 'variable GUIDON_HOST' },
      'log-level': { value: 'info', from: `file ${file}` },
      quotas: { value: '{"tenant":{"connections":5}}', from: `file ${file}` },
      'metrics-port': { value: 4301, from: 'default' },
      'trust-root': { value: null, from: 'not given' },
    });
  });

  it('GUIDON_CONFIG names the file, lists are taken from it, and what is needed may stand in it', () => {
    const file = configFile(
      '{"trusted-proxy": ["10.0.0.0/8", "::1"], "control-plane": "http://a", "node-credential-file": "gone"}',
    );
    const environment = { GUIDON_CONFIG: file };
    expect(printed(['dev'], { GUIDON_CONFIG: configFile('{"trusted-proxy": ["10.0.0.0/8"]}') })).toMatchObject({
      'trusted-proxy': { value: ['10.0.0.0/8'] },
    });
    expect(printed(['server'], environment)['trusted-proxy']?.value).toEqual(['10.0.0.0/8', '::1']);
    expect(guidon(['server'], environment)).toMatchObject({
      status: 78,
      output: expect.stringContaining('gone does not exist'),
    });
    expect(guidon(['server'])).toMatchObject({
      status: 64,
      output: expect.stringContaining("'--control-plane <url>'"),
    });
  });

  it('secrets are not printed, wherever they stand', () => {
    const token = `gdn_node_${'a'.repeat(22)}_${'b'.repeat(43)}`;
    const { output } = guidon([
      'server',
      '--node-credential-file',
      token,
      '--trust-root',
      'nats://me:hunter2@x',
      '--print-config',
    ]);
    expect(output).toContain('nats://***@x');
    expect(output).not.toMatch(/gdn_node|hunter2/);
  });
});

describe('a configuration that cannot work ends with status 78 and a sentence', () => {
  it.each([
    ['{"tls-crt": "x"}', /: \/tls-crt is no option of control-plane; there are .*tls-cert/],
    ['{"a/b~": 1}', /: \/a~1b~0 is no option/],
    ['{"print-config": true}', /: \/print-config is no option/],
    ['{"port": "x"}', /: \/port: A port is a number/],
    ['{"port": 70000}', /: \/port: A port is a number/],
    ['{"port": null}', /: \/port must be a text or a number/],
    ['{"port": [1]}', /: \/port must be a text or a number/],
    ['{"log-level": "loud"}', /: \/log-level: Allowed choices/],
    ['{"trusted-proxy": ["x"]}', /: \/trusted-proxy: Give addresses or CIDR ranges/],
    ['{"trusted-proxy": [1]}', /: \/trusted-proxy must be a list of texts/],
    ['[]', /must hold one JSON object/],
    ['{"port": 1', /is no JSON/],
  ])('%s', (text, sentence) => {
    expect(guidon(['control-plane', '--config', configFile(text)])).toMatchObject({
      status: 78,
      output: expect.stringMatching(sentence),
    });
  });

  it.each([
    [['control-plane', '--config', 'gone.json'], /--config: gone\.json cannot be read \(ENOENT\)/],
    [['control-plane', '--data', '/proc/x'], /--data \/proc\/x cannot be made or written \(ENOENT\): give a folder/],
    [['dev', '--data', '/dev/null/x'], /--data \/dev\/null\/x cannot be made or written \(ENOTDIR\)/],
  ])('%j', (args, sentence) => {
    expect(guidon(args)).toMatchObject({ status: 78, output: expect.stringMatching(sentence) });
  });

  it('one port for two things', () => {
    const key = join(folder.path, 'node.key');
    writeFileSync(key, generateCredential('node').token);
    const node = ['server', '--control-plane', 'http://127.0.0.1:1', '--node-credential-file', key];
    expect(guidon([...node, '--port', '4999', '--metrics-port', '4999'])).toMatchObject({
      status: 78,
      output: expect.stringContaining('--port and --metrics-port are both 4999: give each a port of its own'),
    });
  });
});

describe('docs/operations.md', () => {
  /** Each command by its words, with what its help says: the commands of commands, too. */
  function helpOf(words: readonly string[]): [name: string, help: string][] {
    const help = guidon([...words, '--help']).output;
    const names = [...(help.split('\nCommands:\n')[1] ?? '').matchAll(/^ {2}([a-z-]+)/gm)].map(([, name = '']) => name);
    if (names.length === 0) return [[words.join(' '), help]];
    return names.filter((name) => name !== 'help').flatMap((name) => helpOf([...words, name]));
  }
  const commands = helpOf([]);

  it('there are all of them', () => {
    expect(commands.map(([name]) => name)).toEqual(
      'dev,control-plane,server,edge,break-glass,status,flags usage,typegen,audit verify,keys list,keys introduce,keys activate,keys revoke,backup,restore,compact'.split(
        ',',
      ),
    );
  });

  it.each(commands)('lists every option of %s with its variable', (_name, help) => {
    const text = readFileSync(join(REPOSITORY, 'docs/operations.md'), 'utf8');
    const options = [...help.matchAll(/^ {2}--([a-z-]+)/gm)].map(([, name = '']) => name);
    expect(options.length).toBeGreaterThan(0);
    expect(options.filter((name) => !text.includes(`| \`--${name}\` |`))).toEqual([]);
    const variables = [...help.matchAll(/\b(GUIDON_\w+)/g)].map(([, name = '']) => name);
    expect(variables.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });

  it.each(commands)('%s says of itself, its arguments and its options what they are for', (_name, help) => {
    const [usage = '', what = '', ...sections] = help.split('\n\n');
    expect(what).toMatch(/^\S/);
    const taken = [...usage.matchAll(/[<[](\w+)[\]>]/g)]
      .map(([, name = '']) => name)
      .filter((name) => name !== 'options');
    const explained = sections.join('\n').replaceAll(/\n {10,}/g, '  ');
    expect(taken.filter((name) => !new RegExp(`^ {2}${name} {2,}\\S`, 'm').test(explained))).toEqual([]);
    const options = explained.split('\n').filter((line) => line.startsWith('  -'));
    expect(options.length).toBeGreaterThan(1);
    expect(options.filter((line) => !/^ {2}\S+( \S+)? {2,}[^( ]/.test(line.replace('-h, ', '')))).toEqual([]);
  });
});
