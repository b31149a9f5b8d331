import type { RoleRecord } from './role-record.js';

export function viewRole({ key, name, description, statements, version }: RoleRecord) {
  return { key, isBuiltIn: false, name, description, statements: [...statements], version };
}
