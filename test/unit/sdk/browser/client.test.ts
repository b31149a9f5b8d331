import { readFileSync } from 'node:fs';
import { createBrowserClient, createTestClient } from '@guidon/browser-sdk';
import { VERSION } from '@guidon/browser-sdk/version.js';
import { describe, expect, it } from 'vitest';

const URL_AND_KEY = { url: 'https://flags.example', key: 'gdn_web_x' } as const;

describe('createTestClient()', () => {
  const flags = { yes: true, text: 'é漢🌍', empty: '', zero: 0, list: [1], nothing: null };

  it('gives each getter values of its type and the default for others', () => {
    const client = createTestClient(flags);
    expect(client.boolean('yes', false)).toBe(true);
    expect(client.string('text', 'd')).toBe('é漢🌍');
    expect(client.string('empty', 'd')).toBe('');
    expect(client.number('zero', 7)).toBe(0);
    expect(client.json('list', [])).toEqual([1]);
    expect(client.json('nothing', [])).toBeNull();
    expect(client.booleanDetails('text', false)).toMatchObject({ value: false, errorCode: 'TYPE_MISMATCH' });
    expect(client.stringDetails('zero', 'd')).toMatchObject({ value: 'd', reason: 'ERROR' });
    expect(client.numberDetails('yes', 7)).toMatchObject({ value: 7, errorCode: 'TYPE_MISMATCH' });
    expect(client.jsonDetails('text', {})).toMatchObject({ value: {}, errorCode: 'TYPE_MISMATCH' });
    expect(client.booleanDetails('nope', true)).toEqual({
      value: true,
      reason: 'ERROR',
      errorCode: 'FLAG_NOT_FOUND',
      revision: 1,
      flagMetadata: {},
    });
    expect(client.allFlags()).toEqual(flags);
  });

  it('tells listeners of what is set, remembers what was asked, and stops telling', () => {
    const client = createTestClient(flags);
    const heard: string[] = [];
    const remove = client.onChange('yes', (keys) => heard.push(`one ${keys.join()}`));
    client.onChange(undefined, (keys) => heard.push(`all ${keys.join()}`));
    client.set('yes', false);
    client.set('text', 'b');
    remove();
    client.set('yes', true);
    expect(heard).toEqual(['one yes', 'all yes', 'all text', 'all yes']);
    client.boolean('yes', false);
    client.track('bought', { value: 3 });
    expect(client.uses).toMatchObject([{ flagKey: 'yes', details: { value: true } }]);
    expect(client.tracked).toEqual([{ name: 'bought', value: 3 }]);
  });
});

describe('createBrowserClient() on a server', () => {
  it('identify() never throws, and goes on with the old context where the new one cannot be read', async () => {
    const warnings: string[] = [];
    const logger = { warn: (message: string) => warnings.push(message) };
    const client = createBrowserClient({ ...URL_AND_KEY, context: { targetingKey: 'u' }, logger });
    const cycle: Record<string, unknown> = { targetingKey: 'v' };
    cycle.self = cycle;
    const trap = new Proxy({}, { ownKeys: () => thrown(), get: () => thrown() });
    for (const context of [cycle, trap]) expect(await client.identify(context as never)).toBe(false);
    expect(client.context).toEqual({ targetingKey: 'u' });
    expect(warnings).toHaveLength(2);
    await client.close();
  });

  it('serves its bootstrap and connects nowhere', async () => {
    const bootstrap = {
      epoch: 1,
      revision: 4,
      results: [
        { flag: 'gate', value: 'on', variation: 'on', reason: 'SPLIT', ruleId: 'r' },
        { flag: 'odd', reason: 'ERROR', errorCode: 'GENERAL' },
        { flag: 'code', value: null, variation: null, reason: 'DISABLED' },
      ],
    } as const;
    const client = createBrowserClient({ ...URL_AND_KEY, bootstrap });
    expect(client.status).toEqual({ state: 'live', revision: 4 });
    for (const reader of [client, client.rendered]) {
      expect(reader.stringDetails('gate', 'd')).toMatchObject({
        value: 'on',
        reason: 'SPLIT',
        ruleId: 'r',
        revision: 4,
      });
      expect(reader.stringDetails('odd', 'd')).toMatchObject({ value: 'd', errorCode: 'GENERAL' });
      expect(reader.stringDetails('code', 'd')).toMatchObject({ value: 'd', reason: 'DISABLED' });
      expect(reader.stringDetails('nope', 'd').errorCode).toBe('FLAG_NOT_FOUND');
    }
    expect(client.stringDetails('gate', 'd').flagMetadata).toEqual({ version: '1.4' });
    expect(client.allFlags()).toEqual({ gate: 'on' });
    expect(await client.ready()).toBe(true);
    await client.close();
    expect(client.status.state).toBe('closed');
    expect(client.string('gate', 'd')).toBe('on');
  });

  it('has nothing without one, and does not wait for it', async () => {
    const client = createBrowserClient(URL_AND_KEY);
    expect(client.status).toEqual({ state: 'starting', revision: 0 });
    expect(client.booleanDetails('gate', true)).toMatchObject({ value: true, errorCode: 'PROVIDER_NOT_READY' });
    expect(client.rendered.booleanDetails('gate', true).errorCode).toBe('PROVIDER_NOT_READY');
    expect(await client.ready()).toBe(false);
    await client.close();
    // A server SDK that has no configuration yet.
    const early = createBrowserClient({ ...URL_AND_KEY, bootstrap: { epoch: 0, revision: 0, results: [] } });
    expect(early.status.state).toBe('starting');
  });

  it.each([
    ['url', '{"url": "flags.example"}'],
    ['key', '{"key": "gdn_srv_x"}'],
    ['stream', '{"stream": "msgpack"}'],
    ['pollSeconds', '{"pollSeconds": 61}'],
    ['pollSeconds', '{"pollSeconds": "often"}'],
    ['staleAfterSeconds', '{"staleAfterSeconds": 0}'],
  ])('throws TypeError for a %s that can never work: %s', (name, text) => {
    const create = () => createBrowserClient({ ...URL_AND_KEY, ...JSON.parse(text) });
    expect(create).toThrow(TypeError);
    expect(create).toThrow(name);
  });
});

it('VERSION is that of the package', () => {
  const manifest = readFileSync(new URL('../../../../sdk/browser/package.json', import.meta.url), 'utf8');
  expect(JSON.parse(manifest)).toMatchObject({ version: VERSION });
});

function thrown(): never {
  throw new Error('of the caller');
}
