import { CREDENTIAL_QUOTA_MAX, TENANT_QUOTA_MAX } from '@guidon/protocol/signed-config';
import { z } from 'zod';
import { ADMIN_REQUESTS_PER_SECOND_MAX, RESOURCE_LIMITS, RESOURCES, type Resource } from '../limits/tenant-quotas.js';

const quota = (max: number, description: string) => z.int().min(1).max(max).exactOptional().describe(description);

const credentialQuotas = {
  requestsPerSecond: quota(
    CREDENTIAL_QUOTA_MAX.requestsPerSecond,
    'Requests to one data-plane process; a second’s worth may come at once',
  ),
  evaluationsPerSecond: quota(
    CREDENTIAL_QUOTA_MAX.evaluationsPerSecond,
    'Evaluations; a larger batch passes and is earned back',
  ),
  connections: quota(CREDENTIAL_QUOTA_MAX.connections, 'Connections with a request in progress'),
};

/** What one SDK key may use of one data-plane process, beside what its tenant may. Absent = the node’s default. */
export const credentialQuotasSchema = z.strictObject(credentialQuotas).meta({ id: 'CredentialQuotas' });

const resourceQuotas = Object.fromEntries(
  RESOURCES.map((resource) => {
    const { max, words, byDefault } = RESOURCE_LIMITS[resource];
    return [resource, quota(max, `How many ${words} it may have, what is archived included; ${byDefault} when absent`)];
  }),
) as Record<Resource, ReturnType<typeof quota>>;

/** What all keys of a tenant may use together of one data-plane process, and what the tenant may have in the control plane. */
export const tenantQuotasSchema = z
  .strictObject({
    ...credentialQuotas,
    snapshotBytes: quota(
      TENANT_QUOTA_MAX.snapshotBytes,
      'Of its environments in memory; others wait on the node’s disk',
    ),
    poolSlots: quota(TENANT_QUOTA_MAX.poolSlots, 'Requests that run or wait in the pool'),
    ...resourceQuotas,
    adminRequestsPerSecond: quota(
      ADMIN_REQUESTS_PER_SECOND_MAX,
      'Requests to the admin API; a second’s worth may come at once. No limit when absent',
    ),
  })
  .meta({ id: 'TenantQuotas' });
