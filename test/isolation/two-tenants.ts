import { randomBytes } from 'node:crypto';
import { Browser } from '../support/browser.js';
import { type Answer, TestControlPlane } from '../support/control-plane.js';

/** One of two tenants whose projects, environments, flags and segments have the same keys. Its data is full of its canary. */
export interface PlantedTenant {
  /** In every text of this tenant, and in nothing else. */
  readonly canary: string;
  readonly tenantId: string;
  readonly environmentId: string;
  readonly admin: string;
  readonly srv: string;
  readonly web: string;
  readonly credentialId: string;
  readonly adminCredentialId: string;
  readonly uploadId: string;
  /** Of a member who is an owner and has logged in. */
  readonly personId: string;
  readonly browser: Browser;
  readonly personalTokenId: string;
  readonly invitationId: string;
  readonly webhookId: string;
  readonly triggerId: string;
  /** `/api/v1/tenants/<id>/projects/shop` */
  readonly project: string;
  readonly environment: string;
}

export const SAME = {
  projectKey: 'shop',
  environmentKey: 'dev',
  flagKey: 'gate',
  segmentKey: 'beta',
  roleKey: 'team',
} as const;

/** Everything that the installation has but one tenant must not see of the other. */
export class TwoTenants {
  readonly plane: TestControlPlane;
  readonly a: PlantedTenant;
  readonly b: PlantedTenant;
  readonly node: string;

  static async start(options: { directory?: string } = {}): Promise<TwoTenants> {
    const plane = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'], ...options });
    const [a, b] = [await plant(plane, 'a'), await plant(plane, 'b')];
    return new TwoTenants(plane, a, b, await plane.running.issueNodeCredential('node'));
  }

  private constructor(plane: TestControlPlane, a: PlantedTenant, b: PlantedTenant, node: string) {
    this.plane = plane;
    this.a = a;
    this.b = b;
    this.node = node;
  }
}

async function plant(plane: TestControlPlane, key: string): Promise<PlantedTenant> {
  const canary = `cnry${key}${randomBytes(8).toString('hex')}`;
  const text = (what: string): string => `${canary} ${what}`;
  const must = (method: string, path: string, body?: unknown): Promise<Answer> =>
    plane.must(method, path, {
      ...(body === undefined ? {} : { body }),
      headers: { 'x-guidon-comment': canary, 'idempotency-key': `plant-${key}-${randomBytes(4).toString('hex')}` },
    });
  const tenant = await must('POST', '/api/v1/tenants', { key: canary, name: text('tenant') });
  const tenantPath = `/api/v1/tenants/${tenant.body.id}`;
  await must('POST', `${tenantPath}/projects`, { key: 'shop', name: text('project'), description: text('project') });
  await must('POST', `${tenantPath}/roles`, {
    key: 'team',
    name: text('role'),
    description: text('role'),
    statements: [{ effect: 'allow', actions: ['*'], resources: [`project:${canary}`], tags: [canary] }],
  });
  const project = `${tenantPath}/projects/shop`;
  const dev = await must('POST', `${project}/environments`, { key: 'dev', name: text('environment') });
  await must('POST', `${project}/environments`, { key: 'prod', name: text('environment') });
  const environment = `${project}/environments/dev`;
  await must('POST', `${environment}/segments`, {
    key: 'beta',
    name: text('segment'),
    description: text('segment'),
    tags: [canary],
    rules: [{ when: { attribute: canary, op: 'in', values: [canary] } }],
    included: [{ keys: [`${canary}-member`, 'member'] }, { contextKind: canary, keys: [canary] }],
  });
  await must('POST', `${project}/flags`, {
    key: 'gate',
    type: 'json',
    name: text('flag'),
    description: text('flag'),
    tags: [canary],
    clientSide: true,
    valueSchema: { description: text('schema') },
    variations: [
      { key: `${canary}-on`, name: text('variation'), value: { [canary]: canary } },
      { key: 'off', value: canary },
    ],
    initialTargeting: {
      dev: {
        on: true,
        offVariation: 'off',
        targets: [{ contextKind: 'user', variation: `${canary}-on`, keys: [canary] }],
        rules: [
          { id: canary, name: text('rule'), when: { segment: ['beta'] }, serve: { variation: `${canary}-on` } },
          { id: 'r2', when: { attribute: canary, op: 'in', values: [canary] }, serve: { variation: 'off' } },
        ],
        fallthrough: { variation: `${canary}-on` },
      },
    },
  });
  const srv = await must('POST', `${environment}/credentials`, {
    kind: 'srv',
    name: text('srv'),
    permissions: ['explain'],
  });
  const web = await must('POST', `${environment}/credentials`, {
    kind: 'web',
    name: text('web'),
    allowedOrigins: [`https://${canary}.example`],
  });
  const admin = await must('POST', `${tenantPath}/admin-credentials`, { name: text('admin') });
  const invite = (email: string) => must('POST', `${tenantPath}/invitations`, { email, roles: ['owner'] });
  const { link } = (await invite(`member@${canary}.example`)).body;
  const browser = new Browser(plane);
  const accepted = await browser.call('POST', '/api/v1/invitations/accept', {
    body: { token: link.split('#')[1], name: text('member'), password: `${canary} password` },
  });
  const personalToken = await browser.call('POST', `${tenantPath}/me/tokens`, { body: { name: text('token') } });
  const invitation = await invite(`invited@${canary}.example`);
  const upload = await must('POST', `${environment}/segments/beta/uploads`, { mode: 'add', contextKind: canary });
  await plane.must('PUT', `${environment}/segments/beta/uploads/${upload.body.id}/parts/1`, {
    raw: `"${canary}"\n`,
    headers: { 'content-type': 'application/x-ndjson' },
  });
  const webhook = await must('POST', `${tenantPath}/webhooks`, {
    name: text('webhook'),
    // Nobody listens there, and that takes no time to find out.
    url: `https://127.0.0.1:1/${canary}`,
    form: 'policy',
    project: 'shop',
    flags: [canary],
    tags: [canary],
  });
  await must('POST', `${tenantPath}/webhooks/${webhook.body.id}/test`);
  const trigger = await must('POST', `${tenantPath}/triggers`, {
    name: text('trigger'),
    project: 'shop',
    environment: 'dev',
    flag: 'gate',
    effect: 'mark-unhealthy',
  });
  const alert = { status: 'firing', fingerprint: canary, annotations: { summary: text('alert') } };
  await plane.must('POST', trigger.body.path, { token: null, body: { alerts: [alert] } });
  return {
    canary,
    tenantId: tenant.body.id,
    environmentId: dev.body.id,
    admin: admin.body.token,
    srv: srv.body.token,
    web: web.body.token,
    credentialId: srv.body.id,
    adminCredentialId: admin.body.id,
    uploadId: upload.body.id,
    personId: accepted.body.person.id,
    browser,
    personalTokenId: personalToken.body.id,
    invitationId: invitation.body.id,
    webhookId: webhook.body.id,
    triggerId: trigger.body.id,
    project,
    environment,
  };
}
