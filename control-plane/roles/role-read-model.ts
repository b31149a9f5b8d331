import type { TenantId } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { BUILT_IN_ROLES } from './built-in-roles.js';
import type { Role } from './role.js';
import type { RoleRecord } from './role-record.js';

/** Custom ones only: a built-in role has no row. */
export function getRole(store: StoreReader, tenantId: TenantId, roleKey: string): RoleRecord {
  const role = store.find<RoleRecord>(keys.role(tenantId, roleKey));
  if (role === undefined) throw notFound();
  return role;
}

export function findRole(store: StoreReader, tenantId: TenantId, roleKey: string): Role | undefined {
  return isBuiltIn(roleKey)
    ? BUILT_IN_ROLES.find(({ key }) => key === roleKey)
    : store.find<RoleRecord>(keys.role(tenantId, roleKey));
}

/** Roles by their keys; one that is not there any more allows nothing. */
export function resolveRoles(store: StoreReader, tenantId: TenantId, roleKeys: readonly string[]): Role[] {
  return roleKeys.flatMap((key) => findRole(store, tenantId, key) ?? []);
}

export function isBuiltIn(roleKey: string): boolean {
  return BUILT_IN_ROLES.some(({ key }) => key === roleKey);
}
