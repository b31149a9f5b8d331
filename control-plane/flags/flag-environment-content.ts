import type { EnvironmentContentSource } from '../environments/new-environment-content.js';
import { keys } from '../store/keys.js';
import { defaultTargeting, flagDefinitionOf } from './flag-record.js';
import { listFlags } from './flag-store.js';
import { newTargeting } from './new-flag.js';

/** A new environment knows every flag of its project from the start: off, with salts of its own. */
export const flagEnvironmentContent: EnvironmentContentSource = (store, project, environment) => {
  const entries = listFlags(store, project.tenantId, project.projectId).map((flag) => ({
    flag,
    record: newTargeting(flag, defaultTargeting(flag.variations), ''),
  }));
  return {
    records: entries.map(({ flag, record }) => ({
      key: keys.targeting(environment, flag.key),
      read: undefined,
      value: record,
    })),
    // The lock of the whole project keeps its flags as they are until this is written.
    relied: [],
    definitions: entries.flatMap(({ flag, record }) =>
      flag.archivedAt === null ? [{ put: flagDefinitionOf(flag, record) }] : [],
    ),
  };
};
