import { TENANT_WAITERS_MAX } from '@guidon/control-plane/feed/feed-waiters.js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { EventReader } from '../support/event-reader.js';
import type { ShownItem } from '../support/feed-copy.js';
import { until } from '../support/running-node.js';

let plane: TestControlPlane;
let seed: Seed;
let feed: string;
beforeEach(async () => {
  plane = await TestControlPlane.start();
  seed = await plane.seed();
  feed = `${seed.tenant}/feed`;
});
afterEach(() => plane.dispose());

const endOf = async (): Promise<number> => (await plane.must('GET', feed)).body.end;
const makeFlag = (key: string, tags: readonly string[] = []) =>
  plane.must('POST', `${seed.project}/flags`, { body: { ...booleanFlag(key), tags } });

async function tokenWith(key: string, statements: readonly object[]): Promise<{ id: string; token: string }> {
  await plane.must('POST', `${seed.tenant}/roles`, { body: { key, name: key, statements } });
  return (await plane.must('POST', `${seed.tenant}/admin-credentials`, { body: { name: key, roles: [key] } })).body;
}

const MAY_FOLLOW = { effect: 'allow', actions: ['feed.read'], resources: [''] };

test('shows what the caller may read and passes over the rest: by project, by environment, by tag', async () => {
  const inDev = await tokenWith('in-dev', [
    MAY_FOLLOW,
    { effect: 'allow', actions: ['*.read'], resources: ['project:shop/env:dev', 'project:shop/env:dev/*'] },
  ]);
  const notSecret = await tokenWith('not-secret', [
    { effect: 'allow', actions: ['*.read', '*.list'], resources: ['*'] },
    { effect: 'deny', actions: ['*'], resources: ['*'], tags: ['secret'] },
  ]);
  await makeFlag('open');
  await makeFlag('hidden', ['secret']);
  const all: ShownItem[] = (await plane.must('GET', `${feed}?limit=1000`)).body.items;
  const shownTo = async (token: string): Promise<ShownItem[]> => {
    const { body } = await plane.must('GET', `${feed}?limit=1000`, { token });
    expect(body.next).toBe(all.length);
    return body.items;
  };
  const dev = await shownTo(inDev.token);
  expect(dev.length).toBeGreaterThan(4);
  expect(dev.filter(({ subject }) => !subject.startsWith('projects/shop/environments/dev'))).toEqual([]);
  // Who did it, and what else the change was, is in the audit log, which this role does not read.
  expect(dev.filter((item) => 'actor' in item || 'summary' in item || 'action' in item)).toEqual([]);
  const rest = await shownTo(notSecret.token);
  expect(JSON.stringify(rest.filter(({ type }) => type !== 'environment.revision'))).not.toContain('flags/hidden');
  expect(rest).toEqual(all.filter(({ subject }) => !subject.includes('flags/hidden')));

  const state = async (token: string): Promise<ShownItem[]> =>
    (await plane.must('GET', `${feed}/state?limit=1000`, { token })).body.items;
  expect((await state(inDev.token)).every(({ subject }) => subject.startsWith('projects/shop/environments/dev'))).toBe(
    true,
  );
  expect((await state(notSecret.token)).filter(({ subject }) => subject.includes('hidden'))).toEqual([]);

  const none = await tokenWith('none', [{ effect: 'allow', actions: ['flag.*'], resources: ['*'] }]);
  expect((await plane.call('GET', feed, { token: none.token })).status).toBe(403);
});

test('a poll that waits is answered by the next change that its caller sees, and by the end of its time', async () => {
  const end = await endOf();
  const waiting = plane.must('GET', `${feed}?after=${end}&wait=60`);
  await makeFlag('gate');
  const { body } = await waiting;
  expect(body.items[0]).toMatchObject({ sequence: end + 1, type: 'flag.created', subject: 'projects/shop/flags/gate' });

  const { token } = await tokenWith('projects', [
    MAY_FOLLOW,
    { effect: 'allow', actions: ['project.read'], resources: ['*'] },
  ]);
  const from = await endOf();
  const choosy = plane.must('GET', `${feed}?after=${from}&wait=60`, { token });
  await makeFlag('other');
  await plane.must('POST', `${seed.tenant}/projects`, { body: { key: 'next', name: 'Next' } });
  const answer = await choosy;
  expect(answer.body.items.map(({ type }: ShownItem) => type)).toEqual(['project.created']);

  const last = await endOf();
  expect((await plane.must('GET', `${feed}?after=${last}&wait=1`)).body).toEqual({ items: [], next: last, end: last });
});

test('refuses what is no query of it', async () => {
  for (const query of ['after=-1', 'after=x', 'limit=0', 'limit=1001', 'wait=61', 'wait=-1', 'nonsense=1']) {
    const { status } = await plane.call('GET', `${feed}?${query}`);
    expect([400, 422], query).toContain(status);
  }
});

test('a sequence that the feed never came to is gone; a cursor that nobody gave is refused', async () => {
  const ahead = await plane.call('GET', `${feed}?after=${(await endOf()) + 1}`);
  expect([ahead.status, ahead.body.code]).toEqual([410, 'feed-gone']);
  for (const cursor of ['x', Buffer.from('{"sequence":1,"range":"nonsense"}').toString('base64url')]) {
    expect((await plane.call('GET', `${feed}/state?cursor=${cursor}`)).status).toBe(422);
  }
});

test('a stream resumes behind Last-Event-ID, and HEAD of it is answered at once', async () => {
  const seen: number[] = [];
  const url = `${plane.running.url}${feed}/events?after=0`;
  const open = (lastEventId?: string): EventReader =>
    new EventReader(url, plane.admin, {
      ...(lastEventId === undefined ? {} : { lastEventId }),
      onItem: ({ sequence }) => seen.push(sequence),
    });
  const first = open();
  await until('it has all that is there', async () => seen.length === (await endOf()));
  first.close();
  await makeFlag('gate');
  const second = open(first.lastEventId);
  await until('it has what came meanwhile', async () => seen.length === (await endOf()));
  await makeFlag('other');
  await until('it hears of what comes', async () => seen.length === (await endOf()));
  second.close();
  expect(seen).toEqual(seen.map((_, index) => index + 1));
  const head = await plane.call('HEAD', `${feed}/events`);
  expect([head.status, head.headers['content-type'], head.text]).toEqual([200, 'text/event-stream', '']);
});

test('a stream is not begun behind an id that is none of ours, or of a sequence that never was: it is told where to begin', async () => {
  const end = await endOf();
  for (const lastEventId of ['3-1', 'abc', '-1', String(end + 1), '9'.repeat(20)]) {
    const { status, body } = await plane.call('GET', `${feed}/events?seconds=0`, {
      headers: { 'last-event-id': lastEventId },
    });
    const state = `/api/v1${feed.slice('/api/v1'.length)}/state`;
    expect([lastEventId, status, body?.code, body?.end, body?.state]).toEqual([
      lastEventId,
      410,
      'feed-gone',
      end,
      state,
    ]);
  }
  // What a browser says before it was given an id.
  expect((await plane.call('GET', `${feed}/events?seconds=0`, { headers: { 'last-event-id': '' } })).status).toBe(200);
});

test('ends the streams and waits of a credential that is revoked', async () => {
  const { id, token } = await tokenWith('reader', [MAY_FOLLOW]);
  const stream = new EventReader(`${plane.running.url}${feed}/events`, token, { onItem: () => {} });
  await until('it is open', () => stream.status === 200);
  const waiting = plane.call('GET', `${feed}?after=${await endOf()}&wait=60`, { token });
  await plane.must('POST', `${seed.tenant}/admin-credentials/${id}/revoke`, { headers: { 'if-match': '"1"' } });
  await until('it has ended', () => stream.isEnded);
  expect((await waiting).status).toBe(401);
});

test('lets no more follow than there are places, gives them back, and ends all when it stops', async () => {
  const end = await endOf();
  const streams = Array.from(
    { length: TENANT_WAITERS_MAX },
    () => new EventReader(`${plane.running.url}${feed}/events`, plane.admin, { onItem: () => {} }),
  );
  await until('all are open', () => streams.every(({ status }) => status === 200));
  const refused = await plane.call('GET', `${feed}?after=${end}&wait=60`);
  expect([refused.status, refused.body.code, Number(refused.headers['retry-after'])]).toEqual([429, 'rate-limited', 5]);
  expect((await plane.call('GET', `${feed}/events`)).status).toBe(429);
  // Who does not wait takes no place, and other tenants have their own.
  expect((await plane.call('GET', `${feed}?after=${end}`)).status).toBe(200);
  const other = await plane.seed('other');
  const { end: otherEnd } = (await plane.must('GET', `${other.tenant}/feed`)).body;
  expect((await plane.call('GET', `${other.tenant}/feed?after=${otherEnd}&wait=1`)).status).toBe(200);
  for (const stream of streams.splice(0, 8)) stream.close();
  await until(
    'their places are free',
    async () => (await plane.call('GET', `${feed}?after=${await endOf()}&wait=1`)).status === 200,
  );
  await plane.stop();
  await until('all have ended', () => streams.every(({ isEnded }) => isEnded));
  plane = await TestControlPlane.start({ directory: plane.directory });
});
