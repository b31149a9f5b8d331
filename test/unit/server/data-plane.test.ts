import { DataPlane } from '@guidon/server/data-plane.js';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../../support/flag-sets.js';
import { removeTemporaryDirectories, temporaryDirectory, until } from '../../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../../support/signed-feed-server.js';

/** What the processes of a node say to each other, without the processes. */
let feed: SignedFeedServer;
let environment: FeedEnvironment;
let directory = '';
const planes: DataPlane[] = [];

beforeEach(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('main');
  directory = await temporaryDirectory();
  await environment.publish([aFlag('flag')]);
  await environment.issueCredential('srv');
});
afterEach(async () => {
  await Promise.all(planes.splice(0).map((plane) => plane.close()));
  await feed.stop();
  await removeTemporaryDirectories();
});

async function open(
  role: 'writer' | 'reader',
  on: { onChange?: () => void; behind?: (behind: ReadonlySet<string>) => void } = {},
): Promise<DataPlane> {
  const plane = await DataPlane.open(
    {
      dataDirectory: directory,
      controlPlaneUrl: feed.url,
      nodeCredential: feed.nodeCredential,
      trustRoot: feed.trustRoot,
      pollIntervalMs: 50,
      logger: pino({ level: 'silent' }),
    },
    role,
    { onChange: () => on.onChange?.(), onConfirmed: (behind) => on.behind?.(behind), onTrap: () => undefined },
  );
  planes.push(plane);
  return plane;
}

const slotOf = (plane: DataPlane) => plane.environments.find(environment.ref.environmentId)?.slot;
const untilAt = (plane: DataPlane, revision: number) =>
  until(`revision ${revision}`, () => slotOf(plane)?.serving?.revision === revision);

describe('DataPlane', () => {
  it('I10: traps that another process reports count as its own, those of another revision do not', async () => {
    const leader = await open('writer');
    await leader.lead();
    await untilAt(leader, 1);
    await environment.publish([aFlag('flag', { on: false })]);
    await untilAt(leader, 2);
    const { environmentId } = environment.ref;
    for (let trap = 0; trap < 6; trap += 1) leader.hearTrap(environmentId, 1);
    await leader.environments.find(environmentId)?.idle();
    expect(slotOf(leader)?.serving?.revision).toBe(2);
    for (let trap = 0; trap < 3; trap += 1) leader.hearTrap(environmentId, 2);
    await untilAt(leader, 1);
  });

  it('a follower is ready when the node has been and it has read the store', async () => {
    const leader = await open('writer');
    await leader.lead();
    await until('the leader is ready', () => leader.isReady && slotOf(leader)?.serving !== undefined);
    const follower = await open('reader');
    expect(follower.isReady).toBe(false);
    await follower.follow();
    expect(slotOf(follower)?.serving?.revision).toBe(1);
    expect(follower.isReady).toBe(false);
    follower.hearNodeReady();
    expect(follower.isReady).toBe(true);
  });

  it('what the leader has confirmed is fresh in a follower, what it lacks is not', async () => {
    const confirmed: ReadonlySet<string>[] = [];
    const leader = await open('writer', { behind: (behind) => confirmed.push(behind) });
    await leader.lead();
    await until('all is confirmed', () => confirmed.at(-1)?.size === 0);
    const follower = await open('reader');
    await follower.follow();
    const slot = slotOf(follower);
    if (slot === undefined) throw new Error('nothing is followed');
    slot.confirmedAtMs = 0;
    follower.hearConfirmed(new Set([environment.ref.environmentId]));
    expect(slot.confirmedAtMs).toBe(0);
    follower.hearConfirmed(confirmed.at(-1) ?? new Set());
    expect(slot.confirmedAtMs).toBeGreaterThan(0);
  });
});
