import type { EnvironmentRef } from '@guidon/protocol';
import type { EnvironmentState } from '@guidon/protocol/signed-config';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import type { AccessStateRow } from '../commit/write-environment.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';

/** Where every environment stands, for the digest poll. From then on it moves after a commit alone, so a poll never sees what is not durable (I15). */
export function loadEnvironmentStates(store: StoreReader): EnvironmentState[] {
  const states: EnvironmentState[] = [];
  for (const { value: environment } of store.list<EnvironmentRef>(keys.environmentOwners())) {
    const state = store.find<EnvironmentStateRow>(keys.environmentState(environment));
    const access = store.find<AccessStateRow>(keys.accessState(environment));
    // Of a tenant that is being removed, some are still there.
    if (state === undefined || access === undefined || !store.has(keys.tenant(environment.tenantId))) continue;
    const { tenantId, projectId, environmentId, epoch, revision } = state;
    states.push({ tenantId, projectId, environmentId, epoch, revision, accessSequence: access.sequence });
  }
  return states;
}
