import { FIRINGS_MAX } from '@guidon/control-plane/triggers/fire-trigger.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let madeCount = 0;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed();
});
afterAll(() => plane.dispose());

/** A flag that is on in `prod`, and the address of a trigger for it. */
async function trigger(effect: 'turn-off' | 'mark-unhealthy'): Promise<{ flag: string; path: string; id: string }> {
  madeCount += 1;
  const flag = `flag-${madeCount}`;
  await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag(flag) });
  await turnOn(flag);
  const body = { name: 'errors', project: 'shop', environment: 'prod', flag, effect };
  const made = await plane.must('POST', `${acme.tenant}/triggers`, { body, token: acme.token });
  return { flag, path: made.body.path, id: made.body.id };
}

async function turnOn(flag: string): Promise<void> {
  const path = `${acme.prod.path}/flags/${flag}/targeting`;
  const { headers } = await plane.must('GET', path);
  await plane.must('PATCH', path, { body: { on: true }, headers: { 'if-match': String(headers.etag) } });
}

const fire = (path: string, body: unknown = {}): Promise<Answer> => plane.call('POST', path, { token: null, body });
const isOn = async (flag: string) => (await plane.must('GET', `${acme.prod.path}/flags/${flag}/targeting`)).body.on;
const healthOf = async (flag: string) => (await plane.must('GET', `${acme.prod.path}/flags/${flag}/health`)).body;
const alert = (status: string, fingerprint: string, startsAt = '2026-01-01T00:00:00Z') => ({
  status,
  fingerprint,
  startsAt,
  endsAt: '0001-01-01T00:00:00Z',
  generatorURL: 'http://prometheus.example/graph',
  labels: { alertname: 'ErrorRate' },
  annotations: { summary: `errors of ${fingerprint}` },
});
/** As Alertmanager posts it. */
const posted = (...alerts: object[]) => ({ version: '4', groupKey: '{}', status: 'firing', receiver: 'r', alerts });

describe('a trigger', () => {
  test('turns its flag off, as itself, once; what is off already stays as it is', async () => {
    const { flag, path, id } = await trigger('turn-off');
    const first = await fire(path);
    expect([first.status, first.body]).toEqual([200, { hasChanged: true }]);
    expect(await isOn(flag)).toBe(false);
    const { revision } = (await plane.must('GET', acme.prod.path)).body;
    expect((await fire(path)).body).toEqual({ hasChanged: false });
    expect((await plane.must('GET', acme.prod.path)).body.revision).toBe(revision);
    const [entry] = (await plane.must('GET', `${acme.tenant}/audit?action=targeting.update&limit=1`)).body.items;
    expect(entry.actor).toMatchObject({ kind: 'member', credentialId: id, name: 'trigger errors' });
    expect(entry.comment).toBe('trigger errors fired');
  });

  test('that is not there, or whose address is not whole, is 404 like any other', async () => {
    const { flag, path } = await trigger('turn-off');
    const wrong = [`${path}x`, path.slice(0, -1), path.replace(/\.[^.]+$/, '.'), '/api/v1/triggers/a.b.c', `${path}.x`];
    for (const address of wrong) {
      const { status, body } = await fire(address);
      expect([address, status, body.code]).toEqual([address, 404, 'not-found']);
    }
    expect(await isOn(flag)).toBe(true);
  });

  test('that was deleted does nothing any more; its secret is shown once', async () => {
    const { flag, path, id } = await trigger('turn-off');
    const own = `${acme.tenant}/triggers/${id}`;
    const secret = path.split('.').at(-1) ?? '';
    for (const where of [own, `${acme.tenant}/triggers`, `${acme.tenant}/audit`]) {
      expect((await plane.must('GET', where)).text).not.toContain(secret);
    }
    expect((await plane.call('DELETE', own, { headers: { 'if-match': '"1"' } })).status).toBe(204);
    expect((await fire(path)).status).toBe(404);
    expect(await isOn(flag)).toBe(true);
  });

  test('is not made by who may not do what it does (2.1)', async () => {
    const { flag } = await trigger('turn-off');
    const make = async (roles: string[], effect: string) => {
      const { body } = await plane.must('POST', `${acme.tenant}/admin-credentials`, { body: { name: 'n', roles } });
      const wanted = { name: 'n', project: 'shop', environment: 'prod', flag, effect };
      return (await plane.call('POST', `${acme.tenant}/triggers`, { body: wanted, token: body.token })).status;
    };
    await plane.must('POST', `${acme.tenant}/roles`, {
      body: { key: 'maker', name: 'n', statements: [{ effect: 'allow', actions: ['trigger.*'], resources: ['*'] }] },
    });
    expect(await make(['editor'], 'turn-off')).toBe(403);
    expect(await make(['maker'], 'turn-off')).toBe(403);
    expect(await make(['maker'], 'mark-unhealthy')).toBe(403);
    expect(await make(['maker', 'editor'], 'mark-unhealthy')).toBe(201);
    expect(await make(['maker', 'editor'], 'turn-off')).toBe(201);
    const critical = async (is: boolean): Promise<void> => {
      const { headers } = await plane.must('GET', acme.prod.path);
      const write = { body: { critical: is }, headers: { 'if-match': String(headers.etag) } };
      await plane.must('PATCH', acme.prod.path, write);
    };
    // An editor does not change what a critical environment serves, and no trigger of his does.
    await critical(true);
    expect(await make(['maker', 'editor'], 'turn-off')).toBe(403);
    expect(await make(['maker', 'releaser'], 'turn-off')).toBe(201);
    await critical(false);
  });

  test('of a flag that is not there is refused, and one whose flag was deleted answers 404', async () => {
    const body = { name: 'n', project: 'shop', environment: 'prod', flag: 'nothing', effect: 'turn-off' };
    const refused = await plane.call('POST', `${acme.tenant}/triggers`, { body });
    expect([refused.status, refused.body.errors[0].pointer]).toEqual([422, '/flag']);
    const { flag, path } = await trigger('mark-unhealthy');
    await fire(path);
    const own = `${acme.project}/flags/${flag}`;
    const archived = await plane.must('POST', `${own}/archive`, {
      headers: { 'if-match': String((await plane.must('GET', own)).headers.etag) },
    });
    await plane.must('DELETE', `${own}?force=true`, { headers: { 'if-match': String(archived.headers.etag) } });
    expect((await fire(path)).status).toBe(404);
    await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag(flag) });
    // Another flag with its key is another flag.
    expect((await healthOf(flag)).health).toBe('ok');
  });

  test(`fires ${FIRINGS_MAX} times in a row and is then limited, alone`, async () => {
    const [one, other] = [await trigger('mark-unhealthy'), await trigger('mark-unhealthy')];
    let answer = await fire(one.path);
    let count = 1;
    // A slow machine earns some while it fires.
    for (; answer.status === 200 && count < 1_000; count += 1) answer = await fire(one.path);
    expect([answer.status, answer.body.code]).toEqual([429, 'rate-limited']);
    expect(count).toBeGreaterThan(FIRINGS_MAX);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect((await fire(other.path)).status).toBe(200);
  });
});

describe('Alertmanager', () => {
  test('marks a flag unhealthy, and well again when nothing fires any more; told twice changes nothing', async () => {
    const { flag, path } = await trigger('mark-unhealthy');
    expect((await fire(path, posted(alert('firing', 'a'), alert('firing', 'b')))).body.hasChanged).toBe(true);
    expect(await healthOf(flag)).toMatchObject({ health: 'unhealthy', reason: 'errors of a; errors of b' });
    expect((await fire(path, posted(alert('firing', 'a'), alert('firing', 'b')))).body.hasChanged).toBe(false);
    expect((await fire(path, posted(alert('resolved', 'a'), alert('firing', 'b')))).body.hasChanged).toBe(false);
    expect((await healthOf(flag)).health).toBe('unhealthy');
    expect((await fire(path, posted(alert('resolved', 'a'), alert('resolved', 'b')))).body.hasChanged).toBe(true);
    expect((await healthOf(flag)).health).toBe('ok');
    expect(await isOn(flag)).toBe(true);
  });

  test('turns off once per alert: who turned it on again meanwhile is not overruled until it fires anew', async () => {
    const { flag, path } = await trigger('turn-off');
    await fire(path, posted(alert('firing', 'a')));
    expect(await isOn(flag)).toBe(false);
    await turnOn(flag);
    // Alertmanager repeats what still fires.
    expect((await fire(path, posted(alert('firing', 'a')))).body.hasChanged).toBe(false);
    expect(await isOn(flag)).toBe(true);
    await fire(path, posted(alert('resolved', 'a')));
    expect(await isOn(flag)).toBe(true);
    await fire(path, posted(alert('firing', 'a', '2026-01-02T00:00:00Z')));
    expect(await isOn(flag)).toBe(false);
  });

  test('that repeats as many alerts as a post may hold does not act again', async () => {
    const { flag, path } = await trigger('turn-off');
    const many = posted(...Array.from({ length: 1_000 }, (_, index) => alert('firing', `a${index}`)));
    expect((await fire(path, many)).body.hasChanged).toBe(true);
    await turnOn(flag);
    expect((await fire(path, many)).body.hasChanged).toBe(false);
    expect(await isOn(flag)).toBe(true);
  });

  test('whose reason is cut in the middle of a character leaves none of it', async () => {
    const { flag, path } = await trigger('mark-unhealthy');
    const long = { ...alert('firing', 'a'), annotations: { summary: `${'x'.repeat(499)}\u{1f6a8}` } };
    expect((await fire(path, posted(long))).status).toBe(200);
    expect((await healthOf(flag)).reason).toBe('x'.repeat(499));
  });

  test.each([
    ['no JSON', '{', 400],
    ['a list', '[]', 422],
    ['an alert without a status', '{"alerts":[{}]}', 422],
    ['more than 1 000 alerts', JSON.stringify(posted(...Array(1_001).fill(alert('firing', 'a')))), 422],
  ])('that sends %s is refused, and nothing happens', async (_, raw, status) => {
    const { flag, path } = await trigger('turn-off');
    expect((await plane.call('POST', path, { token: null, raw })).status).toBe(status);
    expect(await isOn(flag)).toBe(true);
  });
});

test('a person marks a flag well again; viewers may not', async () => {
  const { flag, path } = await trigger('mark-unhealthy');
  await fire(path);
  const where = `${acme.prod.path}/flags/${flag}/health`;
  const { body } = await plane.must('POST', `${acme.tenant}/admin-credentials`, {
    body: { name: 'v', roles: ['viewer'] },
  });
  const well = { health: 'ok', reason: 'fixed' };
  expect((await plane.call('PUT', where, { token: body.token, body: well })).status).toBe(403);
  expect((await plane.call('PUT', where, { token: acme.token, body: well })).body).toMatchObject(well);
  expect((await plane.call('GET', where, { token: body.token })).body.reason).toBe('fixed');
});
