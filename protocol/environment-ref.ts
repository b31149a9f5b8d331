import { PlatformError } from './platform-error.js';

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

export type TenantId = Branded<string, 'TenantId'>;
export type ProjectId = Branded<string, 'ProjectId'>;
export type EnvironmentId = Branded<string, 'EnvironmentId'>;

/** The three ids that name one flag set. Always passed together, always first: no function sees data of a tenant it was not given. */
export interface EnvironmentRef {
  readonly tenantId: TenantId;
  readonly projectId: ProjectId;
  readonly environmentId: EnvironmentId;
}

/** Opaque ids are also NATS subject tokens and LMDB key parts, hence the narrow alphabet. */
const ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

export function isId(value: unknown): value is string {
  return typeof value === 'string' && ID_PATTERN.test(value);
}

function parseId(value: unknown, name: string): string {
  if (!isId(value)) throw new PlatformError('validation-failed', `${name} must match ${ID_PATTERN.source}`);
  return value;
}

export const parseTenantId = (value: unknown): TenantId => parseId(value, 'tenantId') as TenantId;
export const parseProjectId = (value: unknown): ProjectId => parseId(value, 'projectId') as ProjectId;
export const parseEnvironmentId = (value: unknown): EnvironmentId => parseId(value, 'environmentId') as EnvironmentId;

/** Reads the three ids of `value`; other members are ignored. Throws `validation-failed` naming the first bad id. */
export function parseEnvironmentRef(value: {
  tenantId?: unknown;
  projectId?: unknown;
  environmentId?: unknown;
}): EnvironmentRef {
  return {
    tenantId: parseTenantId(value.tenantId),
    projectId: parseProjectId(value.projectId),
    environmentId: parseEnvironmentId(value.environmentId),
  };
}

export function isSameEnvironment(a: EnvironmentRef, b: EnvironmentRef): boolean {
  return a.tenantId === b.tenantId && a.projectId === b.projectId && a.environmentId === b.environmentId;
}
