import { decodeConfigMessage, parseManifest } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';

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
  store: 'ok',
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
const report = (nodeId: string, body: unknown, token = node) =>
  plane.call('POST', `/internal/v1/nodes/${nodeId}/status`, { token, body });

describe('POST /internal/v1/nodes/{nodeId}/status', () => {
  test('I10: what a node refused is there for the installation to read', async () => {
    expect((await report('node_1', statusOf('node_1'))).status).toBe(204);
    const { body } = await plane.must('GET', '/api/v1/nodes');
    expect(body.items).toEqual([{ ...statusOf('node_1'), at: now }]);
  });

  test('a report under another id, with an unknown member or from another kind of credential is refused', async () => {
    expect((await report('node_2', statusOf('node_1'))).body).toMatchObject({ errors: [{ pointer: '/nodeId' }] });
    expect((await report('node_1', { ...statusOf('node_1'), role: 'x' })).status).toBe(422);
    expect((await report('node_1', statusOf('node_1'), acme.token)).status).toBe(403);
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
