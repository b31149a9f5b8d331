import { type Actor, ANONYMOUS_ACTOR, SYSTEM_ACTOR } from '@guidon/control-plane/admin-api/actor.js';
import { createAdminApp } from '@guidon/control-plane/admin-api/admin-app.js';
import { assertHasPolicy } from '@guidon/control-plane/admin-api/guard.js';
import { type Action, authorise, POLICY } from '@guidon/control-plane/admin-api/policy.js';
import { resolveRoles } from '@guidon/control-plane/roles/role-read-model.js';
import { parseTenantId } from '@guidon/protocol';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';

const tenantId = parseTenantId('ten_1');
const rolesOf = (role: string) => resolveRoles({ find: () => undefined } as never, tenantId, [role]);
/** The verdict alone, on a thing or on the tenant or installation itself. */
const verdictOf = (
  actor: Actor | undefined,
  action: Action,
  resource: { tenantId: string | undefined; path?: string; tags?: string[] },
) => authorise(actor ?? ANONYMOUS_ACTOR, action, { path: '', tags: [], ...resource }).verdict;
const actors: Record<string, Actor> = {
  installation: { kind: 'installation-admin', credentialId: 'i', name: 'i' },
  system: SYSTEM_ACTOR,
  own: { kind: 'member', credentialId: 'o', name: 'o', tenantId, roles: rolesOf('owner') },
  foreign: {
    kind: 'member',
    credentialId: 'f',
    name: 'f',
    tenantId: parseTenantId('ten_2'),
    roles: rolesOf('owner'),
  },
  node: { kind: 'node', credentialId: 'n', name: 'n' },
  sdk: { kind: 'sdk', credentialId: 's', name: 's', tenantId },
  anonymous: ANONYMOUS_ACTOR,
  person: { kind: 'person', credentialId: 'ses_1', name: 'p', personId: 'per_1', sessionId: 'ses_1' },
};
const actions = Object.keys(POLICY) as Action[];

describe('authorise()', () => {
  const NODE_ACTIONS: readonly string[] = [
    'node.read-config',
    'node.report-status',
    'node.send-events',
    'node.witness',
  ];

  test('anonymous and SDK keys may nothing; nodes read config and report status', () => {
    for (const action of actions) {
      for (const resource of [{ tenantId }, { tenantId: undefined }]) {
        expect([action, verdictOf(actors.anonymous, action, resource)]).not.toContain('allow');
        expect([action, verdictOf(actors.sdk, action, resource)]).toEqual([action, 'wrong-kind']);
        const ofNode = verdictOf(actors.node, action, resource);
        expect([action, ofNode]).toEqual([action, NODE_ACTIONS.includes(action) ? 'allow' : 'wrong-kind']);
      }
    }
  });

  test('a tenant admin never gets at another tenant, whatever the action', () => {
    for (const action of actions) {
      expect([action, verdictOf(actors.foreign, action, { tenantId })]).toEqual([action, 'hidden']);
    }
  });

  test('what belongs to the installation is for its admins', () => {
    const ofInstallation = [
      'tenant.create',
      'tenant.list',
      'tenant.archive',
      'node-credential.create',
      'installation-credential.create',
    ];
    for (const action of ofInstallation as Action[]) {
      expect(verdictOf(actors.installation, action, { tenantId: undefined })).toBe('allow');
      expect(verdictOf(actors.own, action, { tenantId })).toBe('forbidden');
    }
    for (const action of ['project.create', 'credential.create', 'audit.list'] as const) {
      for (const name of ['installation', 'system', 'own']) {
        expect([name, verdictOf(actors[name], action, { tenantId })]).toEqual([name, 'allow']);
      }
    }
  });

  test('a person has his own account alone, and only when he has logged in', () => {
    const { person } = actors;
    const own = actions.filter((action) => verdictOf(person, action, { tenantId: undefined }) === 'allow');
    expect(own.filter((action) => !/^(account|session)\.|^invitation\.accept$/.test(action))).toEqual([]);
    expect(own.length).toBeGreaterThanOrEqual(4);
    for (const action of actions) expect([action, verdictOf(person, action, { tenantId })]).toEqual([action, 'hidden']);
    for (const action of own) {
      expect(verdictOf(actors.installation, action, { tenantId: undefined })).toBe('forbidden');
      expect(verdictOf(actors.system, action, { tenantId: undefined })).toBe('forbidden');
    }
  });

  test('a member’s own tokens are for members who have logged in, whatever their roles', () => {
    const member = { ...actors.own, personId: 'per_1', roles: [] } as Actor;
    for (const action of ['personal-token.create', 'personal-token.list', 'personal-token.revoke'] as const) {
      expect(verdictOf({ ...member, sessionId: 'ses_1' } as Actor, action, { tenantId })).toBe('allow');
      for (const actor of [member, actors.own, actors.installation, actors.system]) {
        expect(verdictOf(actor, action, { tenantId })).toBe('forbidden');
      }
    }
  });

  test('a narrowed token may what its person and its roles may, both', () => {
    const of = (held: string, narrow: string, action: Action) =>
      verdictOf({ ...actors.own, roles: rolesOf(held), narrowedTo: rolesOf(narrow) } as Actor, action, { tenantId });
    expect([of('owner', 'viewer', 'flag.read'), of('owner', 'viewer', 'flag.create')]).toEqual(['allow', 'forbidden']);
    expect([of('viewer', 'owner', 'flag.read'), of('viewer', 'owner', 'flag.create')]).toEqual(['allow', 'forbidden']);
    expect(of('owner', 'gone', 'flag.read')).toBe('forbidden');
  });

  test('nobody may do what only records name', () => {
    for (const action of [
      'authz.denied',
      'setup.complete',
      'break-glass.open',
      'session.create',
      'session.refused',
    ] as const) {
      for (const actor of Object.values(actors)) expect(verdictOf(actor, action, { tenantId })).not.toBe('allow');
    }
  });
});

describe('roles', () => {
  /** Role x action: what is not listed is forbidden. `*` is every action of the tenant. */
  const READS = actions.filter(
    (action) => /\.(list|read)$/.test(action) && verdictOf(actors.own, action, { tenantId }) === 'allow',
  );
  const EDITS = actions.filter(
    (action) =>
      /^(flag|targeting|segment)\./.test(action) || /^(environment\.(change|serve)|revision\.evaluate)$/.test(action),
  );
  const OWNER_ONLY: readonly string[] = ['tenant.update', 'tenant.delete'];
  const everything = actions.filter((action) => verdictOf(actors.own, action, { tenantId }) === 'allow');
  const table: Record<string, readonly string[]> = {
    viewer: READS,
    editor: [...READS, ...EDITS],
    releaser: [...READS, ...EDITS],
    admin: everything.filter((action) => !OWNER_ONLY.includes(action)),
    owner: everything,
  };

  test.each(Object.entries(table))('%s may exactly what it says', (role, allowed) => {
    const actor = { ...actors.own, roles: rolesOf(role) } as Actor;
    for (const action of actions) {
      const decision = authorise(actor, action, { tenantId, path: 'project:shop/env:dev', tags: [] });
      if (allowed.includes(action)) expect([action, decision.verdict]).toEqual([action, 'allow']);
      else expect([action, decision.verdict]).not.toContain('allow');
      if (decision.verdict === 'forbidden') expect(decision.reason).toContain(action);
    }
  });

  test('an editor changes what no critical environment serves; a releaser does', () => {
    const critical = { tenantId, path: 'project:shop/env:prod', tags: ['critical'] };
    const of = (role: string) =>
      verdictOf({ ...actors.own, roles: rolesOf(role) } as Actor, 'environment.serve', critical);
    expect(['viewer', 'editor', 'releaser', 'admin', 'owner'].map(of)).toEqual([
      'forbidden',
      'forbidden',
      'allow',
      'allow',
      'allow',
    ]);
  });

  test('no role somebody writes gives what is reserved', () => {
    const all = [
      { key: 'all', statements: [{ effect: 'allow' as const, actions: ['*'], resources: ['*'], tags: [] }] },
    ];
    const actor = { ...actors.own, roles: all } as Actor;
    expect(verdictOf(actor, 'flag.delete', { tenantId })).toBe('allow');
    for (const action of ['role.create', 'role.update', 'role.delete', 'tenant.update'] as const) {
      expect(verdictOf(actor, action, { tenantId })).toBe('forbidden');
    }
  });
});

describe('assertHasPolicy() (I18)', () => {
  const route = (config: object | undefined) => ({ method: 'GET', url: '/x', config });

  test('takes an action of the policy or a reason to be public, not neither, both or an unknown one', () => {
    expect(() => assertHasPolicy(route({ action: 'project.read' }))).not.toThrow();
    expect(() => assertHasPolicy(route({ publicBecause: 'it is' }))).not.toThrow();
    for (const config of [undefined, {}, { action: 'project.reed' }, { action: 'toString' }, { action: 7 }]) {
      expect(() => assertHasPolicy(route(config))).toThrow(/I18/);
    }
    expect(() => assertHasPolicy(route({ action: 'project.read', publicBecause: 'x' }))).toThrow(/I18/);
  });

  test('an app with such a route does not start, however it was added', async () => {
    const make = () =>
      createAdminApp({
        logger: pino({ level: 'silent' }),
        guard: {} as never,
        idempotencyKeys: {} as never,
        propagation: {} as never,
      });
    expect(() => make().get('/forgotten', () => 'data')).toThrow(/GET \/forgotten declares no action/);
    const app = make();
    app.register(async (scope) => {
      scope.route({ method: 'POST', url: '/deep', config: { action: 'no.such' as never }, handler: () => 'data' });
    });
    await expect(app.ready()).rejects.toThrow(/the policy has no entry for no\.such/);
  });
});
