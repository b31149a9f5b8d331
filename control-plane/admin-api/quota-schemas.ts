import { CREDENTIAL_QUOTA_MAX, TENANT_QUOTA_MAX } from '@guidon/protocol/signed-config';
import { z } from 'zod';

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

/** What all keys of a tenant may use together. */
export const tenantQuotasSchema = z
  .strictObject({
    ...credentialQuotas,
    snapshotBytes: quota(
      TENANT_QUOTA_MAX.snapshotBytes,
      'Of its environments in memory; others wait on the node’s disk',
    ),
    poolSlots: quota(TENANT_QUOTA_MAX.poolSlots, 'Requests that run or wait in the pool'),
  })
  .meta({ id: 'TenantQuotas' });
