import { type EnvironmentRef, parseEnvironmentRef } from '@guidon/protocol';
import { decodeSigned } from '@guidon/protocol/msgpack';
import { type AccessList, parseAccessList } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';

/** Quotas are set here, and reach nodes in the signed access lists (I17). */
let plane: TestControlPlane;
let acme: Seed;
let other: Seed;
let node: string;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed('acme');
  other = await plane.seed('other');
  node = await plane.running.issueNodeCredential('node');
});
afterAll(() => plane.dispose());

async function listOf({ id }: { readonly id: string }): Promise<AccessList & EnvironmentRef> {
  const answer = await fetch(`http://127.0.0.1:${plane.running.port}/internal/v1/environments/${id}/access`, {
    headers: { authorization: `Bearer ${node}` },
  });
  const list = parseAccessList(decodeSigned(new Uint8Array(await answer.arrayBuffer())).signed.document);
  return { ...list, ...parseEnvironmentRef(list) };
}

describe('quotas of a key', () => {
  test('are set when it is made, edited, taken back, kept by a rotation, and listed in its entry', async () => {
    const keys = `${acme.dev.path}/credentials`;
    const quotas = { requestsPerSecond: 10, connections: 5 };
    const { body: made } = await plane.must('POST', keys, {
      token: acme.token,
      body: { kind: 'srv', name: 's', quotas },
    });
    expect(made.quotas).toEqual(quotas);
    const entry = async (id: string) =>
      (await listOf(acme.dev)).entries.find(({ credentialId }) => credentialId === id);
    expect((await entry(made.id))?.quotas).toEqual(quotas);
    const edited = await plane.must('PATCH', `${keys}/${made.id}`, {
      token: acme.token,
      body: { quotas: { connections: null, evaluationsPerSecond: 7 } },
      headers: { 'if-match': '"1"' },
    });
    expect(edited.body.quotas).toEqual({ requestsPerSecond: 10, evaluationsPerSecond: 7 });
    const { body: rotated } = await plane.must('POST', `${keys}/${made.id}/rotate`, {
      body: {},
      headers: { 'if-match': '"2"' },
    });
    expect((await entry(rotated.id))?.quotas).toEqual({ requestsPerSecond: 10, evaluationsPerSecond: 7 });
    await plane.must('PATCH', `${keys}/${rotated.id}`, { body: { quotas: null }, headers: { 'if-match': '"1"' } });
    expect(await entry(rotated.id)).not.toHaveProperty('quotas');
    expect((await plane.must('GET', `${keys}/${rotated.id}`)).body.quotas).toEqual({});
  });

  test.each([
    [{ requestsPerSecond: 0 }, '/quotas/requestsPerSecond'],
    [{ connections: 1.5 }, '/quotas/connections'],
    [{ evaluationsPerSecond: 1e10 }, '/quotas/evaluationsPerSecond'],
    [{ requestsPerSecond: '5' }, '/quotas/requestsPerSecond'],
    [{ poolSlots: 5 }, '/quotas'],
    [[], '/quotas'],
    ['many', '/quotas'],
  ])('%o is refused with a pointer', async (quotas, pointer) => {
    const answer = await plane.call('POST', `${acme.dev.path}/credentials`, {
      body: { kind: 'srv', name: 's', quotas },
    });
    expect(answer.status).toBe(422);
    expect(JSON.stringify(answer.body.errors)).toContain(`"${pointer}`);
  });
});

describe('quotas of a tenant', () => {
  const quotas = { requestsPerSecond: 100, snapshotBytes: 1_000_000, poolSlots: 3 };

  test('are set by an admin of the installation and reach the lists of all its environments, and of no other', async () => {
    const before = await Promise.all([acme.dev, acme.prod, other.dev].map(listOf));
    expect(before[0]).not.toHaveProperty('quotas');
    const { body, headers } = await plane.must('GET', acme.tenant);
    expect(body.quotas).toEqual({});
    const edited = await plane.must('PATCH', acme.tenant, {
      body: { quotas },
      headers: { 'if-match': String(headers.etag) },
    });
    expect(edited.body).toMatchObject({ quotas, name: 'acme' });
    const after = await Promise.all([acme.dev, acme.prod, other.dev].map(listOf));
    expect(after.map((list) => list.quotas)).toEqual([quotas, quotas, undefined]);
    expect(after.map(({ sequence }) => sequence)).toEqual(
      before.map(({ sequence }, index) => sequence + (index < 2 ? 1 : 0)),
    );
    // A list signed for another reason keeps them, and so does an environment that is made later.
    await plane.must('POST', `${acme.prod.path}/credentials`, { body: { kind: 'srv', name: 'later' } });
    expect((await listOf(acme.prod)).quotas).toEqual(quotas);
    const { body: late } = await plane.must('POST', `${acme.project}/environments`, {
      body: { key: 'late', name: 'Late' },
    });
    expect((await listOf(late)).quotas).toEqual(quotas);
  });

  test('are not for the tenant itself to say; its name still is', async () => {
    const version = async () => ({ 'if-match': String((await plane.must('GET', acme.tenant)).headers.etag) });
    const refused = await plane.call('PATCH', acme.tenant, {
      token: acme.token,
      body: { quotas: { requestsPerSecond: 1_000_000 } },
      headers: await version(),
    });
    expect(refused.status).toBe(403);
    expect((await listOf(acme.dev)).quotas).toEqual(quotas);
    const renamed = await plane.must('PATCH', acme.tenant, {
      token: acme.token,
      body: { name: 'Acme' },
      headers: await version(),
    });
    expect(renamed.body).toMatchObject({ name: 'Acme', quotas });
    const foreign = await plane.call('PATCH', acme.tenant, {
      token: other.token,
      body: { quotas: {} },
      headers: await version(),
    });
    expect(foreign.status).toBe(404);
  });

  test.each([[{ snapshotBytes: 0 }], [{ poolSlots: -1 }], [{ requests: 5 }]])('%o is refused', async (bad) => {
    const { headers } = await plane.must('GET', acme.tenant);
    const answer = await plane.call('PATCH', acme.tenant, {
      body: { quotas: bad },
      headers: { 'if-match': String(headers.etag) },
    });
    expect(answer.status).toBe(422);
    expect(answer.body.errors[0].pointer).toMatch(/^\/quotas/);
  });

  test('set again to what they are change no list', async () => {
    const before = await listOf(acme.dev);
    const { headers } = await plane.must('GET', acme.tenant);
    await plane.must('PATCH', acme.tenant, { body: { quotas }, headers: { 'if-match': String(headers.etag) } });
    expect((await listOf(acme.dev)).sequence).toBe(before.sequence);
  });
});
