import { decodeConfigMessage } from '@guidon/protocol/msgpack';
import { findCredential, parseManifest } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Browser } from '../support/browser.js';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

const DAY_MS = 24 * 3_600_000;
let plane: TestControlPlane;
let acme: Seed;
let node: string;
let now = 1_700_000_000_000;

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => now });
  acme = await plane.seed();
  node = await plane.running.issueNodeCredential('node');
});
afterAll(() => plane.dispose());

const statusOf = (nodeId: string) => ({
  nodeId,
  session: 's1',
  sequence: 1,
  isWhole: true,
  version: '0.1.0',
  store: 'ok',
  bus: 'connected',
  streams: 0,
  lagMs: null,
  removed: [] as string[],
  environments: [
    {
      tenantId: acme.tenantId,
      projectId: 'prj_1',
      environmentId: acme.dev.id,
      epoch: 1,
      revision: 1,
      accessSequence: 1,
      quarantined: [{ epoch: 1, revision: 2, digest: 'ab', reason: 'the kernel trapped' }],
    },
  ],
});
const nodeIdOf = (suffix: string) => `${findCredential(node)?.credentialId}-${suffix}`;
const report = (nodeId: string, body: unknown, token = node) =>
  plane.call('POST', `/internal/v1/nodes/${nodeId}/status`, { token, body });
const propagationOf = async (revision: number) =>
  (await plane.must('GET', `/api/v1/revisions/${acme.dev.id}/${revision}/propagation`, { token: acme.token })).body;
const serving = (suffix: string, revision: number, changes: object = {}) => {
  const status = statusOf(nodeIdOf(suffix));
  const environments = status.environments.map((each) => ({ ...each, revision, streams: 3, quarantined: [] }));
  return { ...status, environments, ...changes };
};

describe('POST /internal/v1/nodes/{nodeId}/status', () => {
  test('I10: what a node refused is there for the installation to read', async () => {
    expect((await report(nodeIdOf('one'), statusOf(nodeIdOf('one')))).status).toBe(204);
    const { body } = await plane.must('GET', '/api/v1/nodes');
    expect(body.items).toMatchObject([
      {
        nodeId: nodeIdOf('one'),
        at: now,
        isLive: true,
        environmentCount: 1,
        quarantined: [{ environmentId: acme.dev.id, quarantined: [{ revision: 2, reason: 'the kernel trapped' }] }],
      },
    ]);
  });

  test('what a node of a later build says beside is let go', async () => {
    const one = nodeIdOf('one');
    expect((await report(one, { ...statusOf(one), role: 'x' })).status).toBe(204);
    expect((await plane.must('GET', '/api/v1/nodes')).text).not.toContain('role');
  });

  test('a report under another id, with a member of another type or from another kind of credential is refused', async () => {
    const one = nodeIdOf('one');
    expect((await report(nodeIdOf('two'), statusOf(one))).body).toMatchObject({ errors: [{ pointer: '/nodeId' }] });
    expect((await report(one, { ...statusOf(one), streams: 'x' })).status).toBe(422);
    expect((await report(one, statusOf(one), acme.token)).status).toBe(403);
    expect((await report('node_1', statusOf('node_1'))).status).toBe(403);
  });

  test('changes are taken behind the report before them alone; else everything is asked for', async () => {
    const id = nodeIdOf('delta');
    const changed = (sequence: number, session = 's1') =>
      report(id, serving('delta', 1, { isWhole: false, sequence, session }));
    expect((await changed(1)).status).toBe(409);
    expect((await report(id, serving('delta', 0))).status).toBe(204);
    expect((await changed(2)).status).toBe(204);
    expect((await changed(2)).status).toBe(409);
    expect((await changed(4)).status).toBe(409);
    expect((await changed(3, 's2')).status).toBe(409);
    expect((await changed(3)).status).toBe(204);
    const gone = { isWhole: false, sequence: 4, environments: [], removed: [acme.dev.id] };
    expect((await report(id, serving('delta', 1, gone))).status).toBe(204);
    const { nodes } = await propagationOf(1);
    expect(nodes.find((each: { nodeId: string }) => each.nodeId === id)).toMatchObject({ serves: false, revision: 0 });
  });
});

describe('GET /api/v1/revisions/{environmentId}/{revision}/propagation', () => {
  test('says which nodes serve a revision, since when and to how many streams; the dead are not waited for', async () => {
    now += 60_000; // all before are dead
    for (const suffix of ['a', 'b']) await report(nodeIdOf(suffix), serving(suffix, 1));
    const at = now;
    const { headers, body } = await plane.must('POST', `${acme.project}/flags`, {
      token: acme.token,
      body: booleanFlag('propagated'),
    });
    expect(body.key).toBe('propagated');
    const [, revision = 0] =
      /\/revisions\/\S+\/(\d+)\/propagation>; rel="propagation"/.exec(String(headers.link)) ?? [];
    now += 1_000;
    await report(nodeIdOf('a'), serving('a', Number(revision), { isWhole: false, sequence: 2 }));
    const half = await propagationOf(Number(revision));
    expect(half).toMatchObject({ environmentId: acme.dev.id, revision: Number(revision), isComplete: false });
    const ofNodes = (nodes: { nodeId: string }[]) => nodes.filter(({ nodeId }) => /-[ab]$/.test(nodeId));
    expect(ofNodes(half.nodes)).toEqual([
      { nodeId: nodeIdOf('a'), isLive: true, serves: true, revision: Number(revision), at: at + 1_000, streams: 3 },
      { nodeId: nodeIdOf('b'), isLive: true, serves: false, revision: 1, at, streams: 3 },
    ]);
    await report(nodeIdOf('b'), serving('b', Number(revision) + 1, { isWhole: false, sequence: 2 }));
    expect((await propagationOf(Number(revision))).isComplete).toBe(true);
  });

  test('answers members of the tenant who are logged in, and nobody else who is', async () => {
    const other = await plane.seed('elsewhere');
    const join = async (tenant: string, email: string): Promise<Browser> => {
      const { body } = await plane.must('POST', `${tenant}/invitations`, { body: { email, roles: ['viewer'] } });
      const browser = new Browser(plane);
      const accepted = { token: body.link.split('#')[1], name: email, password: 'a password of theirs' };
      await browser.call('POST', '/api/v1/invitations/accept', { body: accepted });
      return browser;
    };
    const path = `/api/v1/revisions/${acme.dev.id}/1/propagation`;
    const own = await (await join(acme.tenant, 'own@example.com')).call('GET', path);
    expect([own.status, own.body.environmentId]).toEqual([200, acme.dev.id]);
    const stranger = await join(other.tenant, 'stranger@example.com');
    const answers = [
      await stranger.call('GET', path),
      await stranger.call('GET', path.replace(acme.dev.id, 'env_none')),
    ];
    for (const { status, body } of answers) {
      expect({ status, ...body, instance: '' }).toEqual({ status: 404, ...answers[0]?.body, instance: '' });
    }
  });

  test('of another tenant’s environment, or of none, is the same 404', async () => {
    const globex = await plane.seed('globex');
    const call = (id: string, revision: number, token: string) =>
      plane.call('GET', `/api/v1/revisions/${id}/${revision}/propagation`, { token });
    const answers = [
      await call(acme.dev.id, 1, globex.token),
      await call('env_none', 1, globex.token),
      await call(globex.dev.id, 999, globex.token),
    ];
    for (const { status, body } of answers) {
      expect(status).toBe(404);
      expect({ ...body, instance: '' }).toEqual({ ...answers[0]?.body, instance: '' });
    }
  });
});

describe('Prefer: wait', () => {
  const turn = async (headers: Record<string, string>) => {
    const path = `${acme.dev.path}/flags/propagated/targeting`;
    const { headers: read, body } = await plane.must('GET', path);
    return plane.must('PATCH', path, {
      body: { on: body.on !== true },
      headers: { 'if-match': String(read.etag), ...headers },
    });
  };

  test('answers as soon as all live nodes serve the write', async () => {
    now += 60_000;
    await report(nodeIdOf('w'), serving('w', 1));
    let isAnswered = false;
    const answer = turn({ prefer: 'return=minimal, wait=20' }).finally(() => {
      isAnswered = true;
    });
    await new Promise((wake) => setTimeout(wake, 300));
    expect(isAnswered).toBe(false);
    await report(nodeIdOf('w'), serving('w', 1_000, { isWhole: false, sequence: 2 }));
    expect((await answer).headers).toMatchObject({
      'preference-applied': 'wait=20',
      'x-guidon-propagation': 'complete; served=1; nodes=1',
    });
  });

  test('says which nodes are missing when the time is over; what is no such preference is ignored', async () => {
    await report(nodeIdOf('late'), serving('late', 1));
    expect((await turn({ prefer: 'wait=1' })).headers['x-guidon-propagation']).toBe(
      `partial; served=1; nodes=2; missing="${nodeIdOf('late')}"`,
    );
    for (const prefer of ['wait=x', 'await=5', 'wait=0']) {
      expect((await turn({ prefer })).headers['preference-applied']).toBeUndefined();
    }
  });
});

describe('GET /internal/v1/environments/{id}/config', () => {
  const readManifest = async () => {
    const path = `/internal/v1/environments/${acme.dev.id}/config`;
    return parseManifest(decodeConfigMessage((await plane.must('GET', path, { token: node })).bytes).signed.document);
  };

  test('an environment that nobody changes keeps a manifest that a new node may take (I12)', async () => {
    const first = await readManifest();
    now += 30 * DAY_MS;
    expect(await readManifest()).toEqual(first);
    now += 60 * DAY_MS;
    const renewed = await readManifest();
    expect(renewed).toEqual({ ...first, issuedAt: now, expiresAt: now + (first.expiresAt - first.issuedAt) });
  });
});
