import { type EnvironmentId, isId, type ProjectId, type TenantId } from '@guidon/protocol';
import { ulid } from 'ulid';
import { z } from 'zod';

/** Ids as paths carry them; the guard has already answered 404 to what cannot be one. */
export const tenantIdSchema = z.custom<TenantId>(isId).meta({ type: 'string', description: 'Opaque id of a tenant' });

/** What people type and see in paths: letters, digits, `.`, `_`, `-`. */
export const keySchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'must be 1 to 128 letters, digits, dots, underscores or hyphens');
export const nameSchema = z.string().trim().min(1).max(200);
export const descriptionSchema = z.string().max(4_000);
export const timestampSchema = z.int().describe('Epoch milliseconds');

export const tenantParams = z.object({ tenantId: tenantIdSchema });
export const projectParams = tenantParams.extend({ projectKey: z.string() });
export const environmentParams = projectParams.extend({ environmentKey: z.string() });

/** New ids: sortable by time, no dot, unique everywhere. */
export const newTenantId = (): TenantId => `ten_${ulid()}` as TenantId;
export const newProjectId = (): ProjectId => `prj_${ulid()}` as ProjectId;
export const newEnvironmentId = (): EnvironmentId => `env_${ulid()}` as EnvironmentId;
