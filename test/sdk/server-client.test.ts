import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateCredential } from '@guidon/protocol/signed-config';
import { type Context, createClient, createTestClient, type GuidonClient } from '@guidon/server-sdk';
import { RareWarnings } from '@guidon/server-sdk/rare-warnings.js';
import { SDK } from '@guidon/server-sdk/version.js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { until } from '../support/running-node.js';

/** What the server SDK does without a node, and with one that misbehaves. */

let folder: string;
const open: { close(): Promise<void> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'guidon-sdk-'));
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((item) => item.close()));
  rmSync(folder, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

const SOMEBODY = { targetingKey: 'user-1' };
const NOWHERE = 'http://127.0.0.1:9';
const aKey = (): string => generateCredential('srv').token;

function clientOf(options: Parameters<typeof createClient>[0]): GuidonClient & { readonly warnings: string[] } {
  const warnings: string[] = [];
  const client = createClient({ logger: { warn: (message) => warnings.push(message) }, ...options });
  open.push(client);
  return Object.assign(client, { warnings });
}

describe('createClient()', () => {
  test.each([
    ['no url', { key: aKey() }, /url is missing/],
    ['no key', { url: NOWHERE }, /key is missing/],
    ['a url that is none', { url: 'flags.example.com', key: aKey() }, /url must be/],
    ['a key with a letter too few', { url: NOWHERE, key: aKey().slice(0, -1) }, /cut or mistyped/],
    ['a client key', { url: NOWHERE, key: generateCredential('web').token }, /server key/],
    ['polls too often', { url: NOWHERE, key: aKey(), pollSeconds: 4 }, /pollSeconds/],
    ['polls too rarely', { url: NOWHERE, key: aKey(), pollSeconds: 61 }, /pollSeconds/],
    ['a trust root that is cut', { url: NOWHERE, key: aKey(), trustRoot: 'abc' }, /trustRoot/],
    ['stale at once', { url: NOWHERE, key: aKey(), staleAfterSeconds: 1 }, /staleAfterSeconds/],
  ])('refuses %s, without saying the key', (_, options, message) => {
    expect(() => createClient(options)).toThrow(message);
    try {
      createClient(options);
    } catch (error) {
      if ('key' in options) expect(String(error)).not.toContain(options.key);
    }
  });

  test('takes url and key of the environment, the key from a file too', async () => {
    vi.stubEnv('GUIDON_URL', `${NOWHERE},http://127.0.0.1:10/`);
    vi.stubEnv('GUIDON_KEY_FILE', join(folder, 'key'));
    expect(() => createClient()).toThrow(/GUIDON_KEY_FILE/);
    writeFileSync(join(folder, 'key'), `${aKey()}\n`);
    expect(clientOf({}).status().state).toBe('starting');
  });

  test('getters never throw and give the default, whatever they are asked with', () => {
    const client = clientOf({ url: NOWHERE, key: aKey() });
    const trap = new Proxy({}, { ownKeys: () => assertNever(), get: () => assertNever() });
    const nonsense: unknown[] = [undefined, null, 7, 'text', [], trap, { kind: 3 }, { kind: 'multi', user: 4 }];
    const check = (asked: GuidonClient): void => {
      for (const context of nonsense as Context[]) {
        for (const key of ['flag', '', '__proto__', 'constructor', undefined as never]) {
          expect(asked.boolean(key, context, true)).toBe(true);
          expect(asked.string(key, context, 'd')).toBe('d');
          expect(asked.number(key, context, 7)).toBe(7);
          expect(asked.json(key, context, null)).toBe(null);
          expect(asked.booleanDetails(key, context, true)).toMatchObject({ value: true, reason: 'ERROR' });
          asked.track(key, context);
        }
      }
    };
    check(client);
    check(createTestClient({ other: true }));
    expect(client.booleanDetails('flag', SOMEBODY, true)).toEqual({
      value: true,
      reason: 'ERROR',
      errorCode: 'PROVIDER_NOT_READY',
      revision: 0,
      flagMetadata: {},
    });
    const none = client.allFlags(SOMEBODY);
    expect(JSON.parse(JSON.stringify(none))).toEqual({ epoch: 0, revision: 0, results: [] });
    expect(none.values).toEqual({});
    expect(client.explain('flag', SOMEBODY)).toBeUndefined();
  });

  test('waitForReady() rejects when nobody is there, and resolves with a bootstrap, whose reason is CACHED', async () => {
    const client = clientOf({ url: NOWHERE, key: aKey() });
    await expect(client.waitForReady({ timeoutMs: 100 })).rejects.toMatchObject({ code: 'timeout' });
    await expect(client.waitForRevision(1, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'revision-behind' });
    const booted = clientOf({ url: NOWHERE, key: aKey(), bootstrap: { values: { gate: true } } });
    await booted.waitForReady({ timeoutMs: 100 });
    expect(booted.status()).toMatchObject({ state: 'cached', revision: 0, ageSeconds: undefined });
    expect(booted.booleanDetails('gate', SOMEBODY, false)).toMatchObject({ value: true, reason: 'CACHED' });
    expect(() => createClient({ url: NOWHERE, key: aKey(), bootstrap: { values: { 'not a key!': 1 } } })).toThrow();
  });

  test('GUIDON_FLAG_<KEY> overrides a flag, and hooks hear of each evaluation', () => {
    vi.stubEnv('GUIDON_FLAG_NEW_CHECKOUT', 'true');
    vi.stubEnv('GUIDON_FLAG_THEME', 'dark');
    const heard: string[] = [];
    const client = clientOf({
      url: NOWHERE,
      key: aKey(),
      bootstrap: { values: { 'new-checkout': false, theme: 'light', size: 3 } },
      hooks: [
        { before: () => assertNever() },
        { after: ({ flagKey }, { value, reason }) => heard.push(`${flagKey} ${JSON.stringify(value)} ${reason}`) },
      ],
    });
    expect(client.boolean('new-checkout', SOMEBODY, false)).toBe(true);
    expect(client.string('theme', SOMEBODY, '')).toBe('dark');
    expect(client.number('size', SOMEBODY, 0)).toBe(3);
    expect(client.numberDetails('theme', SOMEBODY, 1)).toMatchObject({ value: 1, errorCode: 'TYPE_MISMATCH' });
    expect(heard).toEqual(['new-checkout true STATIC', 'theme "dark" STATIC', 'size 3 CACHED', 'theme 1 ERROR']);
    // It threw each time; each minute is enough to say so.
    expect(client.warnings.filter((warning) => warning.includes('hook'))).toHaveLength(1);
  });

  test('an offline file is watched; what cannot be used leaves the last good flags (I13)', async () => {
    const path = join(folder, 'flags.json');
    const put = (text: string): void => {
      writeFileSync(`${path}.new`, text);
      renameSync(`${path}.new`, path);
    };
    put('{"values": {"gate": true, "theme": "dark", "limits": {"a": [1]}}}');
    const client = clientOf({ offlineFile: path });
    await client.waitForReady();
    expect(client.status().state).toBe('local');
    expect(client.booleanDetails('gate', SOMEBODY, false)).toMatchObject({ value: true, reason: 'STATIC' });
    expect(client.json('limits', SOMEBODY, null)).toEqual({ a: [1] });
    const changed: (readonly string[])[] = [];
    client.onChange('gate', ({ flagKeys }) => changed.push(flagKeys));
    put('{"values": {"gate": "not a');
    await until('the damage is seen', () => client.warnings.length > 0);
    expect(client.boolean('gate', SOMEBODY, false)).toBe(true);
    put('{"values": {"gate": false, "theme": "dark", "limits": {"a": [1]}}}');
    await until('the change is seen', () => !client.boolean('gate', SOMEBODY, true));
    expect(changed[0]).toContain('gate');
    put('[]');
    await until('the second damage is seen', () => client.warnings.length > 1);
    expect(client.boolean('gate', SOMEBODY, true)).toBe(false);
  });

  test('a server that answers nonsense costs nothing but retries', async () => {
    const requests: string[] = [];
    const server: Server = createServer((request, response) => {
      requests.push(request.url ?? '');
      const answers = ['not json', '{"manifest": 3}', '[]', '{"rootPublicKey":"x"}', ''];
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(answers[requests.length % answers.length]);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    open.push({ close: () => new Promise((resolve) => server.close(() => resolve()).closeAllConnections()) });
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const client = clientOf({ url: `http://127.0.0.1:${port}`, key: aKey(), stream: 'sse' });
    await until('it was asked some times', () => requests.length > 5, 60_000);
    expect(client.status().state).toBe('starting');
    expect(client.boolean('gate', SOMEBODY, true)).toBe(true);
    await client.close();
    expect(client.status().state).toBe('closed');
  });

  test('close() is soon over with nobody there, also twice, and getters go on', async () => {
    const client = clientOf({ url: NOWHERE, key: aKey(), bootstrap: { values: { gate: true } } });
    client.track('bought', SOMEBODY, { value: 3 });
    await Promise.all([client.close(), client.close()]);
    expect(client.boolean('gate', SOMEBODY, false)).toBe(true);
  });
});

describe('a program that is wrong in each of its requests', () => {
  test('gets its defaults and a warning of each kind a minute, and explain() never throws', () => {
    const client = clientOf({ url: NOWHERE, key: aKey(), bootstrap: { values: { gate: true } } });
    const trap = new Proxy({}, { ownKeys: () => assertNever(), get: () => assertNever() });
    const cycle: Record<string, unknown> = { targetingKey: 'u' };
    cycle.self = cycle;
    for (let count = 0; count < 3; count += 1) {
      for (const context of [trap, cycle] as Context[]) {
        expect(client.booleanDetails('gate', context, false)).toMatchObject({ reason: 'ERROR', value: false });
        expect(client.explain('gate', context)?.result).toMatchObject({ errorCode: 'INVALID_CONTEXT' });
        expect(client.allFlags(context).values).toEqual({});
        client.track('', context);
      }
    }
    expect(new Set(client.warnings).size).toBe(client.warnings.length);
    expect(client.warnings).toContain('a context could not be read');
  });

  test('RareWarnings tells messages apart, and says each again after a minute', () => {
    let nowMs = 0;
    const said: string[] = [];
    const rare = new RareWarnings(
      (message) => said.push(message),
      () => nowMs,
    );
    for (nowMs of [0, 1, 59_999, 60_000, 60_001]) {
      rare.warn('one');
      rare.warn('other');
    }
    expect(said).toEqual(['one', 'other', 'one', 'other']);
  });

  test('waitForReady() says soon that nodes refuse the key, and serves what there is', async () => {
    const server = createServer((_, response) => response.writeHead(401).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    open.push({ close: () => new Promise((resolve) => server.close(() => resolve()).closeAllConnections()) });
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const client = clientOf({ url, key: aKey(), stream: 'poll' });
    // An hour, so that the test would end by its own time if it had to be waited for.
    const refused = client.waitForReady({ timeoutMs: 3_600_000 });
    await expect(refused).rejects.toMatchObject({ code: 'invalid-credentials' });
    expect(client.status()).toMatchObject({ state: 'starting', isKeyRefused: true });
    const booted = clientOf({ url, key: aKey(), stream: 'poll', bootstrap: { values: { gate: true } } });
    await booted.waitForReady({ timeoutMs: 3_600_000 });
    expect(booted.boolean('gate', SOMEBODY, false)).toBe(true);
  });
});

describe('createTestClient()', () => {
  test('serves what the test says, and remembers what was asked', () => {
    const client = createTestClient({ gate: true, theme: 'dark', size: 3, layout: { columns: 2 } });
    open.push(client);
    const heard: number[] = [];
    client.onChange('gate', ({ revision }) => heard.push(revision));
    expect(client.boolean('gate', SOMEBODY, false)).toBe(true);
    client.set('gate', false);
    client.set('added', 'new');
    expect(client.boolean('gate', SOMEBODY, true)).toBe(false);
    expect(client.string('added', SOMEBODY, '')).toBe('new');
    expect(client.boolean('theme', SOMEBODY, true)).toBe(true);
    expect(client.json('layout', SOMEBODY, null)).toEqual({ columns: 2 });
    client.track('bought', SOMEBODY, { value: 9 });
    expect(heard).toHaveLength(1);
    expect(client.evaluations.map(({ flagKey, details }) => [flagKey, details.value, details.reason])).toEqual([
      ['gate', true, 'STATIC'],
      ['gate', false, 'STATIC'],
      ['added', 'new', 'STATIC'],
      ['theme', true, 'ERROR'],
      ['layout', { columns: 2 }, 'STATIC'],
    ]);
    expect(client.tracked).toEqual([{ name: 'bought', context: SOMEBODY, value: 9 }]);
    expect(client.allFlags(SOMEBODY).values).toEqual({
      added: 'new',
      gate: false,
      layout: { columns: 2 },
      size: 3,
      theme: 'dark',
    });
    expect(client.explain('gate', SOMEBODY)?.result).toMatchObject({ value: false });
  });
});

test('the SDK names itself as its package does', () => {
  const manifest = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.resolve('@guidon/server-sdk')), 'utf8'),
  );
  expect(SDK).toEqual({ name: manifest.name, version: manifest.version });
});

function assertNever(): never {
  throw new Error('of the caller');
}
