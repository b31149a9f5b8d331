import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer, CallOptions } from '../support/control-plane.js';
import { OPERATION_CASES, type Operation, operationsOf, PUBLIC_OPERATIONS } from './admin-operations.js';
import { type PlantedTenant, SAME, TwoTenants } from './two-tenants.js';

/** I16 over every route of the OpenAPI document: whatever is asked with credentials of A, no byte of B is in the answer. */

let installation: TwoTenants;
let operations: Operation[];

beforeAll(async () => {
  installation = await TwoTenants.start();
  const { body } = await installation.plane.must('GET', '/openapi.json');
  // Fastify answers HEAD wherever it answers GET.
  operations = operationsOf(body.paths).flatMap((operation) =>
    operation.method === 'GET' ? [operation, { ...operation, method: 'HEAD' }] : [operation],
  );
});
afterAll(() => installation.plane.dispose());

type Ids = Readonly<Record<string, string>>;

/** Ids of the form that real ones have, which belong to nobody. */
const MISSING: Ids = {
  tenantId: 'ten_00000000000000000000000000',
  environmentId: 'env_00000000000000000000000000',
  credentialId: '0000000000000000000000',
  uploadId: 'upl_00000000000000000000000000',
  personId: 'per_00000000000000000000000000',
  sessionId: 'ses_00000000000000000000000000000000',
  invitationId: 'inv_00000000000000000000000000',
  webhookId: 'whk_00000000000000000000000000',
  triggerId: 'trg_00000000000000000000000000',
};

function idsOf(tenant: PlantedTenant, operation: Operation): Ids {
  const isAdminCredential = operation.path.includes('admin-credentials');
  return {
    ...SAME,
    part: '1',
    /** The one that made the flag and planted the canary into it. */
    revision: '3',
    tenantId: tenant.tenantId,
    environmentId: tenant.environmentId,
    credentialId: isAdminCredential
      ? tenant.adminCredentialId
      : isOfMe(operation)
        ? tenant.personalTokenId
        : tenant.credentialId,
    uploadId: tenant.uploadId,
    personId: tenant.personId,
    sessionId: MISSING.sessionId ?? '',
    invitationId: tenant.invitationId,
    webhookId: tenant.webhookId,
    triggerId: tenant.triggerId,
  };
}

function call(operation: Operation, ids: Ids, options: CallOptions): Promise<Answer> {
  const { method, path, sent } = operation;
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? `no-${name}`);
  return installation.plane.call(method, sent.query === undefined ? filled : `${filled}?${sent.query}`, {
    ...('body' in sent ? { body: sent.body } : {}),
    ...(sent.raw === undefined ? {} : { raw: sent.raw }),
    ...options,
    headers: {
      ...(sent.contentType === undefined ? {} : { 'content-type': sent.contentType }),
      ...(method === 'GET' || method === 'HEAD' ? {} : { 'if-match': '"1"' }),
      ...options.headers,
    },
  });
}

/** Status, headers and body but for the request id and the date: what must be the same, byte for byte. */
function comparable({ status, headers, text }: Answer): string {
  const { date: _, ...rest } = headers;
  return JSON.stringify([status, rest, text.replace(/"instance":"[^"]*"/, '"instance":""')]);
}

function assertNothingOf(tenant: PlantedTenant, answer: Answer, operation: Operation): void {
  const everything = `${answer.status} ${JSON.stringify(answer.headers)} ${answer.text}`;
  const { canary, environmentId, credentialId, adminCredentialId, personId, invitationId, personalTokenId, webhookId } =
    tenant;
  const ids = [environmentId, credentialId, adminCredentialId, personId, invitationId, personalTokenId, webhookId];
  const secrets = [canary, ...ids, tenant.triggerId];
  for (const secret of secrets) {
    expect(everything.includes(secret), `${operation.operationId} shows ${secret}`).toBe(false);
  }
}

const isOfTenant = ({ path }: Operation): boolean =>
  path.includes('{tenantId}') || path.startsWith('/api/v1/revisions/');
/** About the one who asks: it takes a session. */
const isOfMe = ({ path }: Operation): boolean => /\/me(\/|$)|\/logout$/.test(path);
/** What a page of ours sends for a member of A who has logged in. */
const sessionOf = ({ browser }: PlantedTenant): CallOptions => ({
  token: null,
  headers: { cookie: browser.cookie, 'x-csrf-token': browser.csrfToken, 'sec-fetch-site': 'same-origin' },
});
const credentialsOfA = (): Record<string, CallOptions> => {
  const { a, node } = installation;
  return {
    admin: { token: a.admin },
    person: sessionOf(a),
    srv: { token: a.srv },
    web: { token: a.web },
    node: { token: node },
    none: { token: null },
  };
};

/** What B serves and keeps, to see that nothing of it moved. */
async function stateOfB(): Promise<string> {
  const { b, plane } = installation;
  const paths = [
    '/projects',
    '/audit',
    '/members',
    '/invitations',
    '/admin-credentials',
    '/webhooks',
    '/triggers',
    '/projects/shop/environments/dev/flags/gate/health',
    '/projects/shop/environments',
    '/projects/shop/flags?archived=all',
    '/projects/shop/environments/dev/flags/gate/targeting',
    '/projects/shop/environments/dev/segments?archived=all',
    '/projects/shop/environments/dev/segments/beta/keys',
    '/projects/shop/environments/dev/credentials',
    '/projects/shop/environments/dev/revisions',
    `/projects/shop/environments/dev/segments/beta/uploads/${b.uploadId}`,
  ];
  const answers = await Promise.all(paths.map((path) => plane.must('GET', `/api/v1/tenants/${b.tenantId}${path}`)));
  return answers.map(({ text }) => text).join('\n');
}

describe('every operation of the OpenAPI document (I16)', () => {
  test('has a case here', () => {
    const missing = operations.filter(({ operationId }) => OPERATION_CASES[operationId] === undefined);
    expect(missing.map(({ operationId }) => operationId)).toEqual([]);
    expect(operations.length).toBeGreaterThan(60);
  });

  test('answers A about things of B like about things that are not there, byte for byte, and changes nothing of B', async () => {
    const before = await stateOfB();
    for (const operation of operations.filter(isOfTenant)) {
      const foreign = idsOf(installation.b, operation);
      for (const [kind, credential] of Object.entries(credentialsOfA())) {
        const answer = await call(operation, foreign, credential);
        const missing = await call(operation, { ...foreign, ...MISSING }, credential);
        expect(comparable(answer), `${operation.operationId} as ${kind}`).toBe(comparable(missing));
        expect(answer.status, `${operation.operationId} as ${kind}`).toBe(
          kind === 'admin' || kind === 'person' ? 404 : kind === 'none' ? 401 : 403,
        );
        assertNothingOf(installation.b, answer, operation);
      }
    }
    expect(await stateOfB()).toBe(before);
  }, 120_000);

  test('answers A about ids of B under its own path like about ids that are not there', async () => {
    const before = await stateOfB();
    const withIds = operations.filter(
      (operation) =>
        isOfTenant(operation) &&
        /\{(credentialId|uploadId|personId|invitationId|webhookId|triggerId)\}/.test(operation.path),
    );
    expect(withIds.length).toBeGreaterThanOrEqual(9);
    for (const operation of withIds) {
      const own = { ...idsOf(installation.a, operation), ...pickIds(idsOf(installation.b, operation)) };
      const missing = { ...idsOf(installation.a, operation), ...pickIds(MISSING) };
      const credential = isOfMe(operation) ? sessionOf(installation.a) : { token: installation.a.admin };
      const answer = await call(operation, own, credential);
      expect(comparable(answer)).toBe(comparable(await call(operation, missing, credential)));
      expect(answer.status, operation.operationId).toBe(404);
      assertNothingOf(installation.b, answer, operation);
    }
    expect(await stateOfB()).toBe(before);
  });

  test('outside of a tenant is for the installation alone; nodes read config, nobody else does', async () => {
    for (const operation of operations.filter((candidate) => !isOfTenant(candidate))) {
      const isPublic = PUBLIC_OPERATIONS.includes(operation.operationId);
      for (const [kind, credential] of Object.entries(credentialsOfA())) {
        const isNodes = operation.path.startsWith('/internal/');
        const isOwn = isOfMe(operation) && kind === 'person';
        if (isPublic || isOwn || (isNodes && kind === 'node')) continue;
        const answer = await call(operation, idsOf(installation.b, operation), credential);
        expect(answer.status, `${operation.operationId} as ${kind}`).toBe(kind === 'none' ? 401 : 403);
        const missing = await call(operation, { ...idsOf(installation.b, operation), ...MISSING }, credential);
        expect(comparable(answer)).toBe(comparable(missing));
        assertNothingOf(installation.b, answer, operation);
      }
    }
  });

  test('a node gets each environment by its own id, signed for it, and 404 for what is not there', async () => {
    const { a, b, node, plane } = installation;
    for (const [own, other] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const what of ['config', 'access']) {
        const { status, bytes } = await plane.call('GET', `/internal/v1/environments/${own.environmentId}/${what}`, {
          token: node,
        });
        expect(status).toBe(200);
        expect(bytes.includes(own.environmentId)).toBe(true);
        expect(bytes.includes(other.environmentId)).toBe(false);
        expect(bytes.includes(other.canary)).toBe(false);
      }
    }
    expect(
      (await plane.call('GET', `/internal/v1/environments/${MISSING.environmentId}/config`, { token: node })).status,
    ).toBe(404);
  });

  test('about things of A shows things of A and nothing of B', async () => {
    let seen = 0;
    for (const operation of operations.filter((candidate) => isOfTenant(candidate) && candidate.method === 'GET')) {
      const credential = isOfMe(operation) ? sessionOf(installation.a) : { token: installation.a.admin };
      const answer = await call(operation, idsOf(installation.a, operation), credential);
      expect(answer.status, operation.operationId).toBe(200);
      if (answer.text.includes(installation.a.canary)) seen += 1;
      assertNothingOf(installation.b, answer, operation);
    }
    // The canary really is in what these routes answer: its absence elsewhere means something.
    expect(seen).toBeGreaterThanOrEqual(15);
  });
});

describe('what remembers (I16)', () => {
  test('an ETag of B given as If-None-Match or If-Match tells A nothing', async () => {
    const { a, b, plane } = installation;
    for (const path of ['/flags/gate', '/environments/dev/flags/gate/targeting', '/environments/dev/segments/beta']) {
      const { headers } = await plane.must('GET', `${b.project}${path}`, { token: b.admin });
      const etag = String(headers.etag);
      const read = await plane.call('GET', `${b.project}${path}`, {
        token: a.admin,
        headers: { 'if-none-match': etag },
      });
      expect(read.status).toBe(404);
      const write = await plane.call('PATCH', `${b.project}${path}`, {
        token: a.admin,
        body: { name: 'n' },
        headers: { 'if-match': etag },
      });
      expect(write.status).toBe(404);
      expect(write.body.currentEtag).toBeUndefined();
    }
  });

  test('an Idempotency-Key of B replays nothing for A, and A’s own are not touched', async () => {
    const { a, b, plane } = installation;
    const headers = { 'idempotency-key': 'the-same-key' };
    const body = { key: 'idempotent', type: 'boolean' };
    const ofB = await plane.must('POST', `${b.project}/flags`, { token: b.admin, body, headers });
    const foreign = await plane.call('POST', `${b.project}/flags`, { token: a.admin, body, headers });
    expect(foreign.status).toBe(404);
    const ofA = await plane.must('POST', `${a.project}/flags`, { token: a.admin, body, headers });
    expect(ofA.headers['idempotency-replayed']).toBeUndefined();
    expect(ofA.body.id).not.toBe(ofB.body.id);
  });

  test('a cursor of B continues a list of A among things of A only', async () => {
    const { a, b, plane } = installation;
    for (const { project, admin } of [a, b]) {
      await plane.must('POST', `${project}/flags`, { token: admin, body: { key: 'zulu', type: 'boolean' } });
    }
    const { body } = await plane.must('GET', `${b.project}/flags?limit=1`, { token: b.admin });
    expect(body.nextCursor).toEqual(expect.any(String));
    const answer = await plane.must('GET', `${a.project}/flags?limit=1&cursor=${body.nextCursor}`, { token: a.admin });
    expect(answer.text).not.toContain(b.canary);
    const keys = await plane.must('GET', `${b.environment}/segments/beta/keys?limit=1`, { token: b.admin });
    const page = await plane.must('GET', `${a.environment}/segments/beta/keys?cursor=${keys.body.nextCursor}`, {
      token: a.admin,
    });
    expect(page.text).not.toContain(b.canary);
  });

  test('a refused look at B is in the audit log of A, and of B nothing at all', async () => {
    const { a, b, plane } = installation;
    const audit = (tenant: PlantedTenant) =>
      plane.must('GET', `/api/v1/tenants/${tenant.tenantId}/audit?limit=100`, { token: tenant.admin });
    const before = await audit(b);
    await plane.call('GET', b.project, { token: a.admin });
    expect((await audit(b)).text).toBe(before.text);
    expect((await audit(b)).text).not.toContain(a.canary);
    const ofA = await audit(a);
    expect(ofA.text).toContain('authz.denied');
    expect(ofA.text).not.toContain(b.canary);
  });

  test('things of A never name things of B: a flag of B is no prerequisite of one of A', async () => {
    const { a, b, plane } = installation;
    await plane.must('POST', `${b.project}/flags`, { token: b.admin, body: { key: 'only-b', type: 'boolean' } });
    const path = `${a.environment}/flags/gate/targeting`;
    const { headers } = await plane.must('GET', path, { token: a.admin });
    const answer = await plane.call('PATCH', path, {
      token: a.admin,
      body: { prerequisites: [{ flag: 'only-b', variations: ['on'] }] },
      headers: { 'if-match': String(headers.etag) },
    });
    expect([answer.status, answer.body.code]).toEqual([422, 'dangling-reference']);
  });
});

describe('people (I16)', () => {
  test('what a person is asked about himself names his own tenants alone', async () => {
    for (const operation of operations.filter((candidate) => isOfMe(candidate) && candidate.method === 'GET')) {
      const answer = await call(operation, idsOf(installation.a, operation), sessionOf(installation.a));
      expect([operation.operationId, answer.status]).toEqual([operation.operationId, 200]);
      assertNothingOf(installation.b, answer, operation);
    }
  });

  test('a person of A who is invited to B sees B from then on, and nothing of C', async () => {
    const { a, b, plane } = installation;
    const paths = ['/members', '/projects', '/audit'];
    const statusesIn = (tenantId: string) =>
      Promise.all(
        paths.map(async (path) => (await plane.call('GET', `/api/v1/tenants/${tenantId}${path}`, sessionOf(a))).status),
      );
    expect(await statusesIn(b.tenantId)).toEqual([404, 404, 404]);
    const { email } = (await a.browser.call('GET', '/api/v1/me')).body.person;
    const { body } = await plane.must('POST', `/api/v1/tenants/${b.tenantId}/invitations`, {
      token: b.admin,
      body: { email, roles: ['viewer'] },
    });
    const join = { token: body.link.split('#')[1] };
    expect((await b.browser.call('POST', '/api/v1/me/tenants', { body: join })).body.code).toBe('forbidden');
    expect((await a.browser.call('POST', '/api/v1/me/tenants', { body: join })).status).toBe(201);
    expect(await statusesIn(b.tenantId)).toEqual([200, 200, 200]);
    expect((await a.browser.call('POST', '/api/v1/me/tenants', { body: join })).body.code).toBe('invalid-credentials');
    await plane.must('DELETE', `/api/v1/tenants/${b.tenantId}/members/${a.personId}`, {
      token: b.admin,
      headers: { 'if-match': '"1"' },
    });
    await a.browser.login(email, `${a.canary} password`);
    expect(await statusesIn(b.tenantId)).toEqual([404, 404, 404]);
    expect(await statusesIn(a.tenantId)).toEqual([200, 200, 200]);
  });
});

function pickIds(ids: Ids): Ids {
  const { credentialId = '', uploadId = '', personId = '', invitationId = '', webhookId = '', triggerId = '' } = ids;
  return { credentialId, uploadId, personId, invitationId, webhookId, triggerId };
}
