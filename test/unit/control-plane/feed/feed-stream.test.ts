import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Actor, SYSTEM_ACTOR } from '@guidon/control-plane/admin-api/actor.js';
import { Feed } from '@guidon/control-plane/feed/feed.js';
import type { NewFeedRow } from '@guidon/control-plane/feed/feed-row.js';
import { type FeedReader, streamFeed } from '@guidon/control-plane/feed/feed-stream.js';
import { FeedWaiters } from '@guidon/control-plane/feed/feed-waiters.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { parseTenantId } from '@guidon/protocol';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const TENANT = parseTenantId('ten_1');
const FOREVER = { after: 0, ms: 24 * 3_600_000 };
let directory: string;
let store: ControlStore;
let feed: Feed;
let waiters: FeedWaiters;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'guidon-feed-stream-'));
  store = await ControlStore.open({ directory, mapBytes: 1 << 30 });
  feed = new Feed(store);
  waiters = new FeedWaiters(feed);
});
afterEach(async () => {
  vi.useRealTimers();
  await store.close();
  rmSync(directory, { recursive: true });
});

async function append(...subjects: readonly string[]): Promise<void> {
  const rows = subjects.map(
    (subject): NewFeedRow => ({
      type: 'role.created',
      subject,
      at: 1,
      actor: { kind: 'system', credentialId: 'system', name: 'system' },
      action: 'role.create',
      summary: '',
      auditSequence: 1,
      data: {},
      audience: { action: 'role.read', path: '', tags: [] },
    }),
  );
  const end = await store.transaction((transaction) => feed.append(transaction, TENANT, rows));
  feed.keepHead(TENANT, end);
  feed.announce(TENANT);
}

function aReader(actorNow: () => Actor = () => SYSTEM_ACTOR) {
  const cut = vi.fn();
  const gone = new AbortController();
  const reader: FeedReader = { actorNow, cut, gone: gone.signal };
  return { cut, gone, reader };
}

const open = (reader: FeedReader, release = () => {}) =>
  streamFeed({ feed, waiters }, TENANT, reader, { ...FOREVER, release });

test('cuts off a reader that takes nothing for 60 s', async () => {
  await append('a');
  const { cut, reader } = aReader();
  const events = open(reader);
  expect((await events.next()).value).toBe('retry: 2000\n\n');
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  expect((await events.next()).value).toMatch(/^id: 1\ndata: .*"subject":"a"/);
  vi.advanceTimersByTime(59_999);
  expect(cut).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(cut).toHaveBeenCalledTimes(1);
});

test('never cuts off a reader that has taken everything', async () => {
  await append('a');
  const { cut, reader } = aReader();
  const events = open(reader);
  await events.next();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  await events.next();
  for (let heartbeat = 0; heartbeat < 5; heartbeat += 1) {
    const next = events.next();
    await Promise.resolve();
    vi.advanceTimersByTime(15_000);
    expect((await next).value).toBe('id: 1\n: heartbeat\n\n');
  }
  expect(cut).not.toHaveBeenCalled();
  await events.return(undefined);
});

test('a quiet feed is heard of every 15 s, with the place of what this reader does not see', async () => {
  await append('a', 'b');
  const { reader } = aReader(() => ({
    kind: 'member',
    credentialId: 'c',
    name: 'n',
    tenantId: TENANT,
    roles: [],
  }));
  const events = open(reader);
  await events.next();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const heartbeat = events.next();
  await Promise.resolve();
  vi.advanceTimersByTime(15_000);
  expect((await heartbeat).value).toBe('id: 2\n: heartbeat\n\n');
  await events.return(undefined);
});

test('gives its place back when the reader is gone, may not read any more, or the process ends', async () => {
  const release = vi.fn();
  const left = aReader();
  const events = open(left.reader, release);
  await events.next();
  const last = events.next();
  left.gone.abort();
  expect((await last).done).toBe(true);
  expect(release).toHaveBeenCalledTimes(1);

  const revoked = aReader(() => {
    throw new Error('revoked');
  });
  const refused = open(revoked.reader, release);
  await refused.next();
  expect((await refused.next()).done).toBe(true);
  expect(release).toHaveBeenCalledTimes(2);

  const ending = open(aReader().reader, release);
  await ending.next();
  const end = ending.next();
  waiters.close();
  expect((await end).done).toBe(true);
  expect(release).toHaveBeenCalledTimes(3);
});
