import type { EnvironmentRef } from '@guidon/protocol';
import { EnvironmentDigests } from '@guidon/protocol/signed-config';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import type { AccessStateRow } from '../commit/write-environment.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';

/** Where every environment stands, for the digest poll. Kept in memory and moved on only after a commit, so a poll never sees what is not durable (I15). */
export function loadEnvironmentDigests(store: StoreReader): EnvironmentDigests {
  const digests = new EnvironmentDigests();
  for (const { value: environment } of store.list<EnvironmentRef>(keys.environmentOwners())) {
    const state = store.find<EnvironmentStateRow>(keys.environmentState(environment));
    const access = store.find<AccessStateRow>(keys.accessState(environment));
    // Of a tenant that is being removed, some are still there.
    if (state === undefined || access === undefined || !store.has(keys.tenant(environment.tenantId))) continue;
    const { tenantId, projectId, environmentId, epoch, revision } = state;
    digests.set({ tenantId, projectId, environmentId, epoch, revision, accessSequence: access.sequence });
  }
  return digests;
}
