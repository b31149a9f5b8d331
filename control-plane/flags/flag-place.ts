import { PlatformError, type TenantId } from '@guidon/protocol';
import type { EnvironmentChange } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { listEnvironments, refOf } from '../environments/environment-read-model.js';
import type { EnvironmentRecord } from '../environments/environment-record.js';
import { getProject } from '../projects/project-read-model.js';
import type { ProjectRecord } from '../projects/project-record.js';
import { assertFits, type LocateDefinition } from './check-references.js';
import type { ServedDefinitions } from './find-users.js';
import { type FlagRecord, flagDefinitionOf, type TargetingRecord } from './flag-record.js';
import { getTargeting } from './flag-store.js';

/** The project of a flag with all of its environments, archived ones too: read once per plan. */
export interface FlagPlace {
  readonly project: ProjectRecord;
  readonly environments: readonly EnvironmentRecord[];
}

/** 409 when the project is archived: archived things are read, not changed. */
export function getOpenPlace(core: ControlPlaneCore, tenantId: TenantId, projectKey: string): FlagPlace {
  const project = getProject(core.store, tenantId, projectKey);
  if (project.archived) throw new PlatformError('conflict', 'the project is archived');
  return { project, environments: listEnvironments(core.store, project) };
}

/** What each environment serves, for looking for users in. */
export function servedDefinitions(core: ControlPlaneCore, environment: EnvironmentRecord): ServedDefinitions {
  const { flags, segments } = core.committer.flagSetOf(refOf(environment));
  return { environmentKey: environment.key, flags: [...flags.values()], segments: [...segments.values()] };
}

/** Every environment with what the flag is from now on; an archived flag is shipped nowhere. */
export function environmentChanges(
  core: ControlPlaneCore,
  place: FlagPlace,
  flag: FlagRecord,
  targetingOf: (environment: EnvironmentRecord) => TargetingRecord = (environment) =>
    getTargeting(core.store, refOf(environment), flag.key),
  locate: (environment: EnvironmentRecord) => LocateDefinition = () => () => undefined,
): EnvironmentChange[] {
  return place.environments.map((record) => {
    const environment = refOf(record);
    if (flag.archivedAt !== null) {
      return { environment, definitions: [{ remove: { kind: 'flag', key: flag.key } }] };
    }
    const definitions = [{ put: flagDefinitionOf(flag, targetingOf(record)) }];
    assertFits(core.committer.flagSetOf(environment), definitions, locate(record));
    return { environment, definitions };
  });
}
