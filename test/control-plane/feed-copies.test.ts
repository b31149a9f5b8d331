import { join } from 'node:path';
import { FeedTrimmer } from '@guidon/control-plane/feed/trim-feeds.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';
import { EventReader } from '../support/event-reader.js';
import { FeedCopy, hashOf, stateOfApi } from '../support/feed-copy.js';
import { until } from '../support/running-node.js';
import { SeededRandom } from '../support/seeded-random.js';
import { changeSomething } from './feed-changes.js';

const IS_DEEP = process.env.GUIDON_DEEP === '1';
const CHANGES = IS_DEEP ? 10_000 : 160;
const RESTARTS = IS_DEEP ? 20 : 3;

let plane: TestControlPlane;
let seed: Seed;
beforeEach(async () => {
  plane = await TestControlPlane.start();
  seed = await plane.seed();
});
afterEach(() => plane.dispose());

async function restart(): Promise<void> {
  await plane.stop();
  plane = await TestControlPlane.start({ directory: plane.directory });
}

/** Without a control plane beside it. */
async function withStore(work: (store: ControlStore) => Promise<void>): Promise<void> {
  await plane.stop();
  const store = await ControlStore.open({ directory: join(plane.directory, 'store'), migrations: STORE_MIGRATIONS });
  await work(store);
  await store.close();
  plane = await TestControlPlane.start({ directory: plane.directory });
}

test(
  `${CHANGES} changes with ${RESTARTS} restarts: who polls, who streams and who began with the state in between have exactly what is there`,
  async () => {
    const random = new SeededRandom(7);
    const [polled, streamed, joined] = [new FeedCopy(), new FeedCopy(), new FeedCopy()];
    let failure: unknown;
    let reader: EventReader | undefined;
    const follow = (): void => {
      reader?.close();
      reader = new EventReader(`${plane.running.url}${seed.tenant}/feed/events?after=0`, plane.admin, {
        ...(streamed.next === 0 ? {} : { lastEventId: String(streamed.next) }),
        onItem: (item) => {
          try {
            streamed.apply([item]);
          } catch (error) {
            failure ??= error;
          }
        },
      });
    };
    follow();
    let tried = 0;
    for (let made = 0; made < CHANGES; tried += 1) {
      if (tried % 60 === 0) await polled.poll(plane, seed.tenant, random.between(1, 60));
      if ((await changeSomething(plane, seed, () => random.next())) >= 300) continue;
      made += 1;
      if (made === Math.floor(CHANGES / 2)) await joined.readState(plane, seed.tenant);
      if (made % Math.floor(CHANGES / (RESTARTS + 1)) === 0 && made < CHANGES) {
        await restart();
        follow();
      }
    }
    const wanted = await stateOfApi(plane, seed);
    await polled.poll(plane, seed.tenant);
    await joined.poll(plane, seed.tenant);
    await until('the stream has everything', () => streamed.next === polled.next || failure !== undefined);
    reader?.close();
    expect(failure).toBeUndefined();
    expect(Object.fromEntries(polled.things)).toEqual(Object.fromEntries(wanted));
    expect([polled.hash, streamed.hash, joined.hash]).toEqual(Array(3).fill(hashOf(wanted)));
    expect(polled.next).toBeGreaterThan(CHANGES);
    expect(polled.itemCount).toBe(polled.next);
    console.log(`${CHANGES} changes (${tried} were tried) in ${polled.next} rows over ${wanted.size} things`);
  },
  IS_DEEP ? 1_800_000 : 120_000,
);

test('a trimmed feed says 410 and where to begin, and state and feed are still exactly what is there', async () => {
  const random = new SeededRandom(11);
  for (let count = 0; count < 40; count += 1) await changeSomething(plane, seed, () => random.next());
  const { end } = (await plane.must('GET', `${seed.tenant}/feed`)).body;
  await withStore(async (store) => {
    const kept = await new FeedTrimmer(store, Date.now, { rows: end, ms: 3_600_000 }).run();
    expect(kept).toBe(0);
    expect(await new FeedTrimmer(store, Date.now, { rows: 10, ms: 3_600_000 }).run()).toBe(end - 10);
    expect(await new FeedTrimmer(store, Date.now, { rows: 10, ms: 3_600_000 }).run()).toBe(0);
  });
  const gone = await plane.call('GET', `${seed.tenant}/feed?after=0`);
  expect([gone.status, gone.body.code, gone.body.start, gone.body.end]).toEqual([410, 'feed-gone', end - 10, end]);
  expect((await plane.must('GET', gone.body.state)).body.sequence).toBe(end);
  const edge = await plane.must('GET', `${seed.tenant}/feed?after=${end - 10}`);
  expect(edge.body.items.map(({ sequence }: { sequence: number }) => sequence)[0]).toBe(end - 9);
  const stream = new EventReader(`${plane.running.url}${seed.tenant}/feed/events?after=1`, plane.admin, {
    onItem: () => {},
  });
  await until('the stream is refused', () => stream.isEnded);
  expect(stream.status).toBe(410);

  const copy = new FeedCopy();
  await copy.readState(plane, seed.tenant);
  // All rows may go: the next one does not take a number that was given away.
  await withStore(async (store) => {
    expect(await new FeedTrimmer(store, () => Date.now() + 10_000, { rows: 10, ms: 0 }).run()).toBe(10);
  });
  await changeSomething(plane, seed, () => 0);
  for (let count = 0; count < 10; count += 1) await changeSomething(plane, seed, () => random.next());
  await copy.poll(plane, seed.tenant);
  expect(copy.next).toBeGreaterThan(end);
  expect(copy.hash).toBe(hashOf(await stateOfApi(plane, seed)));
}, 120_000);

test('who followed another past of a tenant than the imported one is told to read the state', async () => {
  const { bytes } = await plane.must('GET', `${seed.tenant}/export`);
  const { end } = (await plane.must('GET', `${seed.tenant}/feed`)).body;
  const elsewhere = await TestControlPlane.start();
  try {
    const imported = { raw: bytes, headers: { 'content-type': 'application/gzip' } };
    await elsewhere.must('POST', `/api/v1/tenants/import?ids=same&trustRoot=${plane.running.trustRoot}`, imported);
    for (const after of [0, end]) {
      expect((await elsewhere.call('GET', `${seed.tenant}/feed?after=${after}`)).status).toBe(410);
    }
    const copy = new FeedCopy();
    await copy.readState(elsewhere, seed.tenant);
    await elsewhere.must('POST', `${seed.tenant}/projects`, { body: { key: 'next', name: 'Next' } });
    await copy.poll(elsewhere, seed.tenant);
    expect(copy.hash).toBe(hashOf(await stateOfApi(elsewhere, seed)));
  } finally {
    await elsewhere.dispose();
  }
}, 60_000);
