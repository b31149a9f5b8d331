import { type Actor, ANONYMOUS_ACTOR, SYSTEM_ACTOR } from '@guidon/control-plane/admin-api/actor.js';
import { createAdminApp } from '@guidon/control-plane/admin-api/admin-app.js';
import { assertHasPolicy } from '@guidon/control-plane/admin-api/guard.js';
import { type Action, authorise, POLICY } from '@guidon/control-plane/admin-api/policy.js';
import { parseTenantId } from '@guidon/protocol';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';

const tenantId = parseTenantId('ten_1');
const actors: Record<string, Actor> = {
  installation: { kind: 'installation-admin', credentialId: 'i', name: 'i' },
  system: SYSTEM_ACTOR,
  own: { kind: 'tenant-admin', credentialId: 'o', name: 'o', tenantId },
  foreign: { kind: 'tenant-admin', credentialId: 'f', name: 'f', tenantId: parseTenantId('ten_2') },
  node: { kind: 'node', credentialId: 'n', name: 'n' },
  sdk: { kind: 'sdk', credentialId: 's', name: 's', tenantId },
  anonymous: ANONYMOUS_ACTOR,
};
const actions = Object.keys(POLICY) as Action[];

describe('authorise()', () => {
  const NODE_ACTIONS: readonly string[] = ['node.read-config', 'node.report-status'];

  test('anonymous and SDK keys may nothing; nodes read config and report status', () => {
    for (const action of actions) {
      for (const resource of [{ tenantId }, { tenantId: undefined }]) {
        expect([action, authorise(actors.anonymous as Actor, action, resource)]).not.toContain('allow');
        expect([action, authorise(actors.sdk as Actor, action, resource)]).toEqual([action, 'wrong-kind']);
        const ofNode = authorise(actors.node as Actor, action, resource);
        expect([action, ofNode]).toEqual([action, NODE_ACTIONS.includes(action) ? 'allow' : 'wrong-kind']);
      }
    }
  });

  test('a tenant admin never gets at another tenant, whatever the action', () => {
    for (const action of actions) {
      expect([action, authorise(actors.foreign as Actor, action, { tenantId })]).toEqual([action, 'hidden']);
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
      expect(authorise(actors.installation as Actor, action, { tenantId: undefined })).toBe('allow');
      expect(authorise(actors.own as Actor, action, { tenantId })).toBe('forbidden');
    }
    for (const action of ['project.create', 'credential.create', 'audit.list'] as const) {
      for (const name of ['installation', 'system', 'own']) {
        expect([name, authorise(actors[name] as Actor, action, { tenantId })]).toEqual([name, 'allow']);
      }
    }
  });

  test('nobody may do what only records name', () => {
    for (const action of ['authz.denied', 'setup.complete'] as const) {
      for (const actor of Object.values(actors)) expect(authorise(actor, action, { tenantId })).not.toBe('allow');
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
        authenticator: { authenticate: () => Promise.reject(new Error('not reached')) } as never,
        idempotencyKeys: {} as never,
        onDenied: () => {},
      });
    expect(() => make().get('/forgotten', () => 'data')).toThrow(/GET \/forgotten declares no action/);
    const app = make();
    app.register(async (scope) => {
      scope.route({ method: 'POST', url: '/deep', config: { action: 'no.such' as never }, handler: () => 'data' });
    });
    await expect(app.ready()).rejects.toThrow(/the policy has no entry for no\.such/);
  });
});
