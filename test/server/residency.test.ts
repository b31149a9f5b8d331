import type { Definition } from '@guidon/engine';
import type { TenantQuotas } from '@guidon/protocol/signed-config';
import { open } from 'lmdb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { type Answer, sendJson } from '../support/http.js';
import {
  metricOf,
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** More environments than memory: a cold one costs a wait, never an error and never "no flags" (I12, I13). */
interface Tenant {
  readonly environment: FeedEnvironment;
  readonly key: string;
}

const FLAGS_PER_ENVIRONMENT = 8;
/** Most of what a flag takes in kernel memory: little depends on the rest of the layout. */
const FILLER = 'x'.repeat(2_400);
/** Bytes that one of these environments takes in kernel memory, where each value lies in both formats; rounded up a little. */
const ENVIRONMENT_BYTES = FLAGS_PER_ENVIRONMENT * 6_144 + 2_048;

let feed: SignedFeedServer;
const nodes: RunningNode[] = [];
let tenants: Tenant[] = [];

/** No block of one environment is one of another's. */
function flagsOf(name: string, edition = 1): Definition[] {
  return Array.from({ length: FLAGS_PER_ENVIRONMENT }, (_, index) =>
    aFlag(`flag-${index}`, {
      variations: [
        { key: 'no', value: `${name}-${index}-${edition}${FILLER}` },
        { key: 'off', value: 'off' },
      ],
    }),
  );
}

async function addTenant(name: string, tenantId = `ten-${name}`, quotas?: TenantQuotas): Promise<Tenant> {
  const environment = feed.addEnvironment(name, { tenantId });
  environment.tenantQuotas = quotas;
  await environment.publish(flagsOf(name));
  const tenant = { environment, key: await environment.issueCredential('srv', { permissions: ['explain'] }) };
  tenants.push(tenant);
  return tenant;
}

async function start(options: Parameters<typeof startNode>[1] = {}): Promise<RunningNode> {
  const node = await startNode(feed, options);
  nodes.push(node);
  return node;
}

async function startWith(count: number, residentCount: number): Promise<RunningNode> {
  for (let index = 0; index < count; index += 1) await addTenant(`e${index}`);
  const node = await start({ snapshotMemoryBytes: residentCount * ENVIRONMENT_BYTES });
  for (const { environment } of tenants) await untilCurrent(node, environment);
  for (const { key } of tenants) await untilAccepted(node, key);
  return node;
}

const ask = (node: RunningNode, { key }: Tenant, body: unknown = { context: {} }): Promise<Answer> =>
  sendJson(`${node.server.url}/v1/evaluate`, { key, body });

function expectedOf({ environment }: Tenant, edition = 1): unknown {
  const name = environment.ref.environmentId.slice('env-'.length);
  return {
    revision: edition,
    results: Array.from({ length: FLAGS_PER_ENVIRONMENT }, (_, index) => ({
      flag: `flag-${index}`,
      value: `${name}-${index}-${edition}${FILLER}`,
      variation: 'no',
      reason: 'STATIC',
    })),
  };
}

function tenantAt(index: number): Tenant {
  const tenant = tenants[index % tenants.length];
  if (tenant === undefined) throw new Error('there are tenants');
  return tenant;
}

/** Asks others until this one has left memory. */
async function evict(node: RunningNode, tenant: Tenant): Promise<void> {
  for (const other of tenants) if (other !== tenant) await ask(node, other);
}

const requestsOf = (tenant: Tenant): string[] =>
  feed.requests.filter((path) => path.includes(`/${tenant.environment.ref.environmentId}/config`));

beforeEach(async () => {
  feed = await new SignedFeedServer().start();
  tenants = [];
});

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
  await feed.stop().catch(() => undefined);
  await removeTemporaryDirectories();
});

describe('a node with memory for 10 of 50 environments', () => {
  it('answers all of them from its own disk, within its budget and one environment, also after a restart', async () => {
    const first = await startWith(50, 10);
    await feed.stop();
    let state = 11;
    let most = 0;
    for (let round = 0; round < 30; round += 1) {
      const asked = Array.from({ length: 10 }, () => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return tenantAt(state >>> 16);
      });
      const answers = await Promise.all(asked.map((tenant) => ask(first, tenant)));
      expect(answers.map(({ status, body }) => ({ status, body }))).toEqual(
        asked.map((tenant) => ({ status: 200, body: expectedOf(tenant) })),
      );
      most = Math.max(most, await metricOf(first, 'guidon_resident_snapshot_bytes'));
    }
    expect(most).toBeGreaterThan(8 * ENVIRONMENT_BYTES);
    expect(most).toBeLessThanOrEqual(11 * ENVIRONMENT_BYTES);
    expect(await metricOf(first, 'guidon_resident_environments')).toBeLessThanOrEqual(11);
    expect(await metricOf(first, 'guidon_snapshot_evictions_total')).toBeGreaterThan(60);
    expect(await metricOf(first, 'guidon_snapshot_reloads_total')).toBeGreaterThan(60);
    expect(first.log.filter(({ level }) => level > 40)).toEqual([]);
    // A restart loads what fits, and is ready at once.
    await first.stop();
    const node = await start({ directory: first.directory, snapshotMemoryBytes: 10 * ENVIRONMENT_BYTES });
    expect((await fetch(`${node.server.metricsUrl}/readyz`)).status).toBe(200);
    expect(await metricOf(node, 'guidon_resident_snapshot_bytes')).toBeLessThanOrEqual(11 * ENVIRONMENT_BYTES);
    for (const tenant of tenants) {
      const { status, body } = await ask(node, tenant);
      expect({ status, body }).toEqual({ status: 200, body: expectedOf(tenant) });
    }
  }, 90_000);
});

describe('a cold environment', () => {
  it('is loaded once for all requests that wait, and keeps what is used most', async () => {
    const node = await startWith(5, 2);
    const tenant = tenantAt(0);
    await evict(node, tenant);
    const before = await metricOf(node, 'guidon_snapshot_reloads_total');
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(node, tenant)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await metricOf(node, 'guidon_snapshot_reloads_total')).toBe(before + 1);
    // Asked after every other: never the one that was used longest ago.
    for (const other of tenants) {
      await ask(node, other);
      await ask(node, tenant);
    }
    const reloads = await metricOf(node, 'guidon_snapshot_reloads_total');
    await ask(node, tenant);
    expect(await metricOf(node, 'guidon_snapshot_reloads_total')).toBe(reloads);
  });

  it('takes a new revision to its disk, and answers it when it is asked', async () => {
    const node = await startWith(5, 2);
    const tenant = tenantAt(0);
    await evict(node, tenant);
    const bytes = await metricOf(node, 'guidon_resident_snapshot_bytes');
    const reloads = await metricOf(node, 'guidon_snapshot_reloads_total');
    await tenant.environment.publish(flagsOf('e0', 2));
    await untilCurrent(node, tenant.environment);
    expect(await metricOf(node, 'guidon_resident_snapshot_bytes')).toBe(bytes);
    expect(await metricOf(node, 'guidon_snapshot_reloads_total')).toBe(reloads);
    expect((await ask(node, tenant)).body).toEqual(expectedOf(tenant, 2));
    await node.stop();
    await feed.stop();
    const again = await start({ directory: node.directory, snapshotMemoryBytes: 2 * ENVIRONMENT_BYTES });
    expect((await ask(again, tenant)).body).toEqual(expectedOf(tenant, 2));
  });

  it('waits for a revision that a request names, and says when it does not come', async () => {
    const node = await startWith(5, 2);
    const tenant = tenantAt(0);
    await evict(node, tenant);
    const pending = ask(node, tenant, { context: {}, minRevision: 2 });
    await tenant.environment.publish(flagsOf('e0', 2));
    expect((await pending).body).toEqual(expectedOf(tenant, 2));
    await evict(node, tenant);
    expect(await ask(node, tenant, { context: {}, minRevision: 9 })).toMatchObject({
      status: 409,
      body: { code: 'revision-behind', currentRevision: 2 },
    });
  });

  it('does not wait behind a message that waits for the control plane', async () => {
    const node = await startWith(5, 2);
    const tenant = tenantAt(0);
    await evict(node, tenant);
    feed.holds = true; // every request of the node from now on hangs
    for (const { environment } of tenants) await environment.publish(flagsOf(environment.ref.environmentId, 2));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { status, body } = await ask(node, tenant);
    expect({ status, body }).toEqual({ status: 200, body: expectedOf(tenant) });
    feed.holds = false;
  });

  it('is explained without being loaded', async () => {
    const node = await startWith(5, 2);
    const tenant = tenantAt(0);
    await evict(node, tenant);
    const reloads = await metricOf(node, 'guidon_snapshot_reloads_total');
    const body = { flag: 'flag-1', context: {} };
    const answer = await sendJson(`${node.server.url}/v1/explain`, { key: tenant.key, body });
    expect(answer).toMatchObject({ status: 200, body: { revision: 1 } });
    expect(await metricOf(node, 'guidon_snapshot_reloads_total')).toBe(reloads);
  });

  it('alone may be larger than the budget', async () => {
    const node = await startWith(3, 0.25);
    for (let round = 0; round < 3; round += 1) {
      for (const tenant of tenants) expect((await ask(node, tenant)).body).toEqual(expectedOf(tenant));
    }
    expect(await metricOf(node, 'guidon_resident_environments')).toBe(1);
  });
});

describe('a cold environment whose rows are damaged', () => {
  async function damage(directory: string, kind: string): Promise<void> {
    const database = open({ path: `${directory}/snapshots`, encoding: 'binary', maxDbs: 0 });
    const keys = [...database.getKeys()];
    for (const key of keys) {
      const row = Array.isArray(key) && key[1] === 'env-e0' && key[2] === kind ? database.getBinary(key) : undefined;
      if (row === undefined) continue;
      const damaged = Buffer.from(row);
      damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 0xff;
      await database.put(key, damaged);
    }
    await database.close();
  }

  it.each(['block', 'root'])(
    'a %s: it is compiled again from the definitions, also with nobody else there',
    async (kind) => {
      const first = await startWith(3, 0.25);
      await first.stop();
      await damage(first.directory, kind);
      await feed.stop();
      const node = await start({ directory: first.directory, snapshotMemoryBytes: ENVIRONMENT_BYTES / 4 });
      await ask(node, tenantAt(1));
      const { status, body } = await ask(node, tenantAt(0));
      expect({ status, body }).toEqual({ status: 200, body: expectedOf(tenantAt(0)) });
    },
  );

  it('the manifest: the control plane is asked for everything', async () => {
    const first = await startWith(3, 0.25);
    await first.stop();
    await damage(first.directory, 'state');
    feed.requests.length = 0;
    const node = await start({ directory: first.directory, snapshotMemoryBytes: ENVIRONMENT_BYTES / 4 });
    const tenant = tenantAt(0);
    await until('it answers again', async () => (await ask(node, tenant)).status === 200);
    expect((await ask(node, tenant)).body).toEqual(expectedOf(tenant));
    expect(requestsOf(tenant)).toHaveLength(1);
    expect(requestsOf(tenantAt(1))).toEqual([]);
  });
});

describe('a tenant with a quota of snapshot bytes (I17)', () => {
  it('gives up its own environments, not those of others, and all of them are answered', async () => {
    for (let index = 0; index < 5; index += 1) {
      await addTenant(`mine${index}`, 'ten-mine', { snapshotBytes: 2 * ENVIRONMENT_BYTES });
    }
    for (let index = 0; index < 3; index += 1) await addTenant(`theirs${index}`);
    const node = await start({ snapshotMemoryBytes: 20 * ENVIRONMENT_BYTES });
    for (const { environment } of tenants) await untilCurrent(node, environment);
    for (const { key } of tenants) await untilAccepted(node, key);
    for (let round = 0; round < 4; round += 1) {
      for (const tenant of tenants) {
        const { status, body } = await ask(node, tenant);
        expect({ status, body }).toEqual({ status: 200, body: expectedOf(tenant) });
        expect(await metricOf(node, 'guidon_resident_environments')).toBeLessThanOrEqual(5);
      }
    }
    expect(await metricOf(node, 'guidon_resident_environments')).toBe(5);
    const reloads = await metricOf(node, 'guidon_snapshot_reloads_total');
    for (const tenant of tenants.slice(5)) await ask(node, tenant);
    expect(await metricOf(node, 'guidon_snapshot_reloads_total')).toBe(reloads);
  });

  it('does so when a list that says so arrives behind its snapshots', async () => {
    for (let index = 0; index < 4; index += 1) await addTenant(`late${index}`, 'ten-late');
    await addTenant('theirs');
    const node = await start({ snapshotMemoryBytes: 20 * ENVIRONMENT_BYTES });
    for (const { environment } of tenants) await untilCurrent(node, environment);
    for (const { key } of tenants) await untilAccepted(node, key);
    expect(await metricOf(node, 'guidon_resident_environments')).toBe(5);
    const [first] = tenants;
    if (first === undefined) throw new Error('there are five');
    first.environment.tenantQuotas = { snapshotBytes: 2 * ENVIRONMENT_BYTES };
    const key = await first.environment.issueCredential('srv');
    await untilAccepted(node, key);
    expect(await metricOf(node, 'guidon_resident_environments')).toBe(3);
    for (const tenant of tenants) expect((await ask(node, tenant)).body).toEqual(expectedOf(tenant));
  });
});
