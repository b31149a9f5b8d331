import { createHash } from 'node:crypto';
import type { EnvironmentRef } from '@guidon/protocol';

export const ENVIRONMENT_TAG_BYTES = 16;

/** What a snapshot's header carries so that bytes of another tenant or environment never load (I16). */
export function environmentTag(environment: EnvironmentRef): Uint8Array {
  // Ids hold no slash, so no two environments share this text.
  const text = `${environment.tenantId}/${environment.projectId}/${environment.environmentId}`;
  return new Uint8Array(createHash('sha256').update(text).digest().subarray(0, ENVIRONMENT_TAG_BYTES));
}
