import type { Role, Statement } from './role.js';

/** Of an environment, in the tags of everything that stands in it. */
export const CRITICAL_TAG = 'critical';

const READING: Statement = { effect: 'allow', actions: ['*.list', '*.read'], resources: ['*'], tags: [] };
const EDITING: Statement = {
  effect: 'allow',
  actions: ['flag.*', 'targeting.*', 'segment.*', 'environment.change', 'environment.serve', 'revision.evaluate'],
  resources: ['*'],
  tags: [],
};
const ANYTHING: Statement = { effect: 'allow', actions: ['*'], resources: ['*'], tags: [] };

/**
 * Roles that every tenant has; custom ones stand beside them.
 *
 *   viewer    sees everything but secrets
 *   editor    also asks what contexts got, and changes flags and segments, except where that changes what a critical environment serves
 *   releaser  also what critical environments serve
 *   admin     everything but the tenant itself and its owners: projects, environments, keys, people, roles, exports
 *   owner     everything
 */
export const BUILT_IN_ROLES: readonly Role[] = [
  { key: 'viewer', statements: [READING] },
  {
    key: 'editor',
    statements: [
      READING,
      EDITING,
      { effect: 'deny', actions: ['environment.serve'], resources: ['*'], tags: [CRITICAL_TAG] },
    ],
  },
  { key: 'releaser', statements: [READING, EDITING] },
  { key: 'admin', statements: [ANYTHING] },
  { key: 'owner', statements: [ANYTHING] },
];

/** No statement of a role that somebody writes can give these, or who may write roles could give himself everything. */
const RESERVED: Readonly<Record<string, readonly string[]>> = {
  'tenant.update': ['owner'],
  'tenant.archive': ['owner'],
  'tenant.delete': ['owner'],
  'tenant.export': ['owner', 'admin'],
  'role.create': ['owner', 'admin'],
  'role.update': ['owner', 'admin'],
  'role.delete': ['owner', 'admin'],
};

/** The built-in roles that alone allow `action`; undefined when statements decide. */
export function holdersOf(action: string): readonly string[] | undefined {
  return RESERVED[action];
}

/**
 * May somebody who holds `held` give away the role `granted`? Owners any, admins any but owner, everybody else what they hold themselves:
 * nobody can make a credential or invite a person to do what he may not.
 */
export function mayGrant(held: readonly string[], granted: string): boolean {
  if (held.includes('owner') || held.includes(granted)) return true;
  return held.includes('admin') && granted !== 'owner';
}
