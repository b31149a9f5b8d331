import { type Json, PlatformError } from '@guidon/protocol';
import { AdminClient } from '../admin/admin-client.js';

/** What `guidon dev` keeps of its demo tenant, so that the printed keys stay the same between starts. */
export interface DemoKeys {
  readonly tenantId: string;
  readonly serverKey: string;
  readonly webKey: string;
}

const ENVIRONMENTS = ['development', 'production'] as const;

/**
 * Makes the tenant `demo` with one project, two environments, three flags and a server and a web key for development, through the
 * admin API like everybody else. Goes on where an interrupted start left off. All three flags are on in development and off in production.
 */
export async function seedDemo(adminUrl: string, adminCredential: string): Promise<DemoKeys> {
  const admin = new AdminClient(adminUrl, adminCredential);
  const tenantId = await ensureTenant(admin);
  const tenantPath = `/api/v1/tenants/${tenantId}`;
  await admin.ensure(`${tenantPath}/projects`, { key: 'demo', name: 'Demo shop' });
  const projectPath = `${tenantPath}/projects/demo`;
  for (const key of ENVIRONMENTS) await admin.ensure(`${projectPath}/environments`, { key, name: key });
  const developmentPath = `${projectPath}/environments/development`;
  for (const { flag, targeting } of DEMO_FLAGS) {
    await admin.ensure(`${projectPath}/flags`, flag);
    await admin.patch(`${developmentPath}/flags/${flag.key}/targeting`, targeting);
  }
  const credentials = `${developmentPath}/credentials`;
  const serverKey = await admin.post(credentials, { kind: 'srv', name: 'demo server', permissions: ['explain'] });
  const webKey = await admin.post(credentials, { kind: 'web', name: 'demo browser', allowedOrigins: ['*'] });
  return { tenantId, serverKey: serverKey.text('token'), webKey: webKey.text('token') };
}

/** False when the store that the tenant was in is no longer there. */
export async function hasTenant(adminUrl: string, adminCredential: string, tenantId: string): Promise<boolean> {
  try {
    await new AdminClient(adminUrl, adminCredential).get(`/api/v1/tenants/${tenantId}`);
    return true;
  } catch (error) {
    if (error instanceof PlatformError && error.code === 'not-found') return false;
    throw error;
  }
}

/** The id of the tenant `demo`. It is there already when an earlier start was interrupted before it had all its keys. */
async function ensureTenant(admin: AdminClient): Promise<string> {
  try {
    return (await admin.post('/api/v1/tenants', { key: 'demo', name: 'Demo' })).text('id');
  } catch (error) {
    if (!(error instanceof PlatformError) || error.code !== 'conflict') throw error;
    const tenant = (await admin.get('/api/v1/tenants?limit=100')).items().find((item) => item.get('key') === 'demo');
    return String(tenant?.get('id'));
  }
}

const DEMO_FLAGS: readonly {
  readonly flag: { readonly key: string } & Record<string, Json>;
  readonly targeting: Record<string, Json>;
}[] = [
  {
    flag: {
      key: 'new-checkout',
      name: 'New checkout',
      type: 'boolean',
      clientSide: true,
      variations: [
        { key: 'on', value: true },
        { key: 'off', value: false },
      ],
    },
    targeting: { on: true, fallthrough: { variation: 'on' } },
  },
  {
    flag: {
      key: 'greeting',
      name: 'Greeting on the start page',
      type: 'string',
      clientSide: true,
      variations: [
        { key: 'plain', value: 'Welcome' },
        { key: 'german', value: 'Willkommen' },
        { key: 'pro', value: 'Welcome back, pro' },
      ],
    },
    targeting: {
      on: true,
      rules: [
        {
          id: 'german-speaking',
          when: { attribute: 'country', op: 'in', values: ['DE', 'AT'] },
          serve: { variation: 'german' },
        },
        {
          id: 'pro-plan',
          when: {
            all: [
              { attribute: 'plan', op: 'in', values: ['pro'] },
              { attribute: 'appVersion', op: 'semverGte', values: ['2.0.0'] },
            ],
          },
          serve: { variation: 'pro' },
        },
      ],
      fallthrough: { variation: 'plain' },
    },
  },
  {
    flag: {
      key: 'search-tuning',
      name: 'Search tuning',
      type: 'json',
      variations: [
        { key: 'v1', value: { ranker: 'v1', results: 20 } },
        { key: 'v2', value: { ranker: 'v2', results: 50 } },
      ],
    },
    targeting: {
      on: true,
      offVariation: 'v1',
      fallthrough: {
        rollout: {
          weights: [
            { variation: 'v2', weight: 20_000 },
            { variation: 'v1', weight: 80_000 },
          ],
        },
      },
    },
  },
];
