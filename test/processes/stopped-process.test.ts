import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openEnvironment } from '@guidon/server/snapshot-store/lmdb-environment.js';
import { afterEach, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { untilStopped } from '../support/guidon-process.js';
import { RunningGroup } from '../support/running-group.js';
import { removeTemporaryDirectories, until } from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/**
 * M7: a process that is stopped while it reads keeps every page that is replaced from then on, and the file never shrinks again. It is
 * stopped in the middle of a read here, which the store's own list of readers shows; the deep run waits for the real bound.
 */
const IS_DEEP = process.env.GUIDON_DEEP !== undefined;
const HANG_MS = IS_DEEP ? 10_000 : 2_000;
const ENVIRONMENT_COUNT = IS_DEEP ? 50 : 20;
const FLAG_COUNT = 20;
/** What changes while the process is stopped stays in the file: not all of the changes may fall into that time. */
const ROUND_PAUSE_MS = HANG_MS / 8;
const ROUND_COUNT = 30;
const PAGE_BYTES = 4_096;

let feed: SignedFeedServer;
let group: RunningGroup;

afterEach(async () => {
  await group.group.close();
  await feed.stop();
  await removeTemporaryDirectories();
});

/** About 8 KiB, another one in each round. */
const aBigFlag = (index: number, round: number) =>
  aFlag(`flag-${index}`, {
    variations: ['yes', 'no', 'off'].map((name) => ({ key: name, value: `${round} ${name} `.repeat(250) })),
  });

async function fileBytes(): Promise<number> {
  return (await stat(join(group.directory, 'snapshots', 'data.mdb'))).size;
}

/** Pages that hold rows now, of the whole store. */
async function liveBytes(): Promise<number> {
  const store = openEnvironment(join(group.directory, 'snapshots'), { readOnly: true });
  const stats: Record<string, unknown> = Object.fromEntries(Object.entries(store.getStats() ?? {}));
  await store.close();
  const pages = ['treeBranchPageCount', 'treeLeafPageCount', 'overflowPages'].map((name) => Number(stats[name]));
  return pages.reduce((sum, count) => sum + count, 0) * PAGE_BYTES;
}

/** Stops `pid` at a moment at which it holds a state of the store; the list shows `-` for a reader that holds none. */
async function stopWhileItReads(pid: number): Promise<void> {
  const store = openEnvironment(join(group.directory, 'snapshots'), { readOnly: true });
  try {
    await until(
      'stopped within a read',
      async () => {
        process.kill(pid, 'SIGSTOP');
        await untilStopped(pid);
        const line = store
          .readerList()
          .split('\n')
          .find((reader) => Number(reader.trim().split(/\s+/)[0]) === pid);
        if (/^\s*\d+\s+\S+\s+\d+\s*$/.test(line ?? '')) return true;
        process.kill(pid, 'SIGCONT');
        await new Promise((wake) => setTimeout(wake, Math.random() * 5));
        return false;
      },
      20_000,
    );
  } finally {
    await store.close();
  }
}

describe('a process that is stopped', () => {
  it(`is ended and replaced, and the file stays below 3 x its live data over ${ENVIRONMENT_COUNT * ROUND_COUNT} changes`, async () => {
    feed = await new SignedFeedServer().start();
    const environments = Array.from({ length: ENVIRONMENT_COUNT }, (_, index) => feed.addEnvironment(`e${index}`));
    for (const environment of environments) {
      await environment.publish(Array.from({ length: FLAG_COUNT }, (_, index) => aBigFlag(index, 0)));
      await environment.issueCredential('srv');
    }
    group = await RunningGroup.start(feed, { processCount: 2, hangMs: HANG_MS });
    const untilServed = (of: readonly FeedEnvironment[]) =>
      until(
        'every environment everywhere',
        async () => {
          const metrics = await group.metrics();
          return of.every(
            ({ ref, revision }) =>
              metrics.value(`guidon_snapshot_revision{environment="${ref.environmentId}"}`) === revision,
          );
        },
        30_000,
      );
    /** By the process that leads: the control plane is asked for the next change of each once the last one is there. */
    const untilTaken = (of: readonly FeedEnvironment[]) =>
      until('taken by the leader', () =>
        of.every(({ ref, revision }) => feed.fetchedRevisions.get(ref.environmentId) === revision),
      );
    await untilServed(environments);
    const victim = await group.follower();
    let stopping: Promise<void> | undefined;
    let endedAtMs = Number.NaN;
    for (let round = 1; round <= ROUND_COUNT; round += 1) {
      for (const environment of environments) await environment.publish([aBigFlag(round % FLAG_COUNT, round)]);
      if (round === 2) stopping = stopWhileItReads(victim.pid);
      await untilTaken(environments);
      await new Promise((wake) => setTimeout(wake, ROUND_PAUSE_MS));
    }
    await stopping;
    const stoppedAtMs = performance.now();
    await until(
      'replaced',
      async () => {
        const now = await group.processes();
        if (now.some(({ pid }) => pid === victim.pid)) return false;
        endedAtMs = performance.now();
        return now.filter(({ isListening }) => isListening).length === 2;
      },
      HANG_MS + 15_000,
    );
    await untilServed(environments);
    const [file, live] = [await fileBytes(), await liveBytes()];
    console.log(
      `file ${(file / 1e6).toFixed(1)} MB, live ${(live / 1e6).toFixed(1)} MB; ended ${Math.round(endedAtMs - stoppedAtMs)} ms later`,
    );
    expect(file).toBeLessThan(3 * live);
  }, 120_000);
});
