import type { Position } from '@guidon/protocol/live-updates';
import { decodeConfigMessage } from '@guidon/protocol/msgpack';
import { parseManifest } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/running-node.js';
import { StreamClient } from '../support/stream-client.js';
import { StreamedPlatform, type StreamedTenant } from '../support/streamed-platform.js';

/** Rotation over the admin API, as a node lives through it. */
let platform: StreamedPlatform;
let tenant: StreamedTenant;

beforeAll(async () => {
  platform = await StreamedPlatform.start();
  tenant = await platform.addTenant('acme');
});
afterAll(() => platform.close());

interface KeyView {
  readonly id: string;
  readonly state: string;
  readonly notAfter: number | null;
}

async function keySet(): Promise<{ keys: readonly KeyView[]; etag: string }> {
  const answer = await platform.plane.must('GET', '/api/v1/signing-keys');
  return { keys: answer.body.keys, etag: String(answer.headers.etag) };
}

async function step(name: 'activate' | 'revoke', state: string): Promise<void> {
  const { keys, etag } = await keySet();
  const key = keys.find((each) => each.state === state);
  await platform.plane.must('POST', `/api/v1/signing-keys/${key?.id}/${name}`, { headers: { 'if-match': etag } });
}

async function evaluate(): Promise<unknown> {
  const response = await fetch(`${platform.server.url}/v1/evaluate`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tenant.srv}`, 'content-type': 'application/json' },
    body: JSON.stringify({ flags: 'gate', context: { targetingKey: 'u' } }),
  });
  return response.status === 200 ? Object(await response.json()).value : response.status;
}

async function changeAndSee(on: boolean): Promise<void> {
  await platform.change(tenant, 'gate', { on });
  await until('the node serves the change', async () => (await evaluate()) === `acme-gate-${on ? 'on' : 'off'}`);
}

/** Of the manifest that a client which comes now is handed. */
async function shownKeyId(): Promise<string> {
  const redirect = await platform.get('/v1/config', tenant.srv);
  const path = redirect.headers.get('location') ?? '';
  const config = await platform.get(path, tenant.srv, { accept: 'application/msgpack' });
  const { signed } = decodeConfigMessage(new Uint8Array(await config.arrayBuffer()));
  return parseManifest(signed.document).keyId;
}

/** What a stream that begins now is sent first, and by which key it is signed. */
async function streamed(hello: { readonly since?: Position }): Promise<string> {
  const client = new StreamClient(platform.server.url, { key: tenant.srv, hello });
  await client.untilAt(await platform.revision(tenant.environment));
  client.close();
  const [frame] = client.frames;
  if (frame === undefined || !('config' in frame)) throw new Error('it was sent no config');
  return `${frame.type} by ${parseManifest(frame.config.signed.document).keyId}`;
}

describe('signing keys rotate', () => {
  it('while every evaluation is answered, though the node learns of the key by a document it signed', async () => {
    let isOver = false;
    const wrong: unknown[] = [];
    let count = 0;
    const load = (async () => {
      while (!isOver) {
        const value = await evaluate();
        if (value !== 'acme-gate-on' && value !== 'acme-gate-off') wrong.push(value);
        count += 1;
      }
    })();
    await platform.plane.must('POST', '/api/v1/signing-keys');
    expect((await keySet()).keys.map(({ state }) => state)).toEqual(['active', 'next']);
    await changeAndSee(true);
    await step('activate', 'next');
    await changeAndSee(false);
    await changeAndSee(true);
    isOver = true;
    await load;
    expect({ wrong, isLoaded: count > 10 }).toEqual({ wrong: [], isLoaded: true });
    expect((await keySet()).keys.map(({ state }) => state)).toEqual(['retired', 'active']);
  });

  it('and a node starts from a disk that the retired key has signed', async () => {
    const other = await platform.addTenant('other');
    await platform.plane.must('POST', '/api/v1/signing-keys');
    await step('activate', 'next');
    await platform.restartNode(0);
    await platform.untilServed(other);
    expect(await evaluate()).toBe('acme-gate-on');
  });

  it('and a revoked key holds nothing: a node that runs asks for what it had signed, and one that starts', async () => {
    const active = (await keySet()).keys.find(({ state }) => state === 'active')?.id;
    expect(await shownKeyId()).not.toBe(active);
    const revision = await platform.revision(tenant.environment);
    await step('revoke', 'retired');
    await step('revoke', 'retired');
    expect((await keySet()).keys.map(({ state }) => state)).toEqual(['active']);
    await until('the node has it signed anew', async () => (await shownKeyId()) === active);
    expect(await platform.revision(tenant.environment)).toBe(revision);
    await platform.restartNode(0);
    await platform.untilServed(tenant);
    expect(await evaluate()).toBe('acme-gate-on');
    await changeAndSee(false);
  });

  it('by whoever has seen the key set alone, and each step is in the audit log', async () => {
    const { keys } = await keySet();
    const path = `/api/v1/signing-keys/${keys[0]?.id}/revoke`;
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await platform.plane.call('POST', path, { headers })).status;
    expect(await status({})).toBe(428);
    expect(await status({ 'if-match': '"1"' })).toBe(412);
    expect(await status({ 'if-match': (await keySet()).etag })).toBe(409);
    const audit = await platform.plane.must('GET', '/api/v1/audit?limit=100');
    const actions = audit.body.items.map(({ action }: { action: string }) => action);
    expect(actions.filter((action: string) => action === 'signing-key.activate')).toHaveLength(2);
    expect(actions.filter((action: string) => action === 'signing-key.revoke')).toHaveLength(2);
  });

  it('and a stream that begins is sent no frame of a revoked key, though the same one was sent before', async () => {
    await platform.plane.must('POST', '/api/v1/signing-keys');
    // Open until the end, so that the node has a line of streams all the while.
    const follower = new StreamClient(platform.server.url, { key: tenant.srv });
    await follower.untilAt(await platform.revision(tenant.environment));
    const { at: since } = follower;
    if (since === undefined) throw new Error('the follower has nothing');
    await platform.addFlag(tenant, 'acme', 'more');
    await follower.untilAt(await platform.revision(tenant.environment));
    const both = async () => [await streamed({}), await streamed({ since })];
    const before = await shownKeyId();
    expect(await both()).toEqual([`put by ${before}`, `patch by ${before}`]);
    await step('activate', 'next');
    await step('revoke', 'retired');
    await until('the node has it signed anew', async () => (await shownKeyId()) !== before);
    const after = await shownKeyId();
    expect(await both()).toEqual([`put by ${after}`, `patch by ${after}`]);
    follower.close();
  });
});
