import type { EnvironmentRef } from '@guidon/protocol';
import type { DefinitionChange, RecordRead, RecordWrite } from '../commit/change.js';
import type { ProjectRecord } from '../projects/project-record.js';
import type { StoreReader } from '../store/control-store.js';

/** What a new environment starts with, besides its own record. */
export interface EnvironmentContent {
  readonly records: readonly RecordWrite[];
  readonly relied: readonly RecordRead[];
  readonly definitions: readonly DefinitionChange[];
}

/** Asked inside the plan that creates `environment`, under the lock of the whole project, so no flag is made meanwhile. */
export type EnvironmentContentSource = (
  store: StoreReader,
  project: ProjectRecord,
  environment: EnvironmentRef,
) => EnvironmentContent;
