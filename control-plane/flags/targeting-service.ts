import type { Patch } from '../admin-api/patch.js';
import type { Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { keys } from '../store/keys.js';
import { asJson, storedJson } from './as-json.js';
import { assertFits } from './check-references.js';
import { summarise } from './describe-flag.js';
import { describeTargetingChange } from './describe-targeting.js';
import { flagDefinitionOf, type TargetingRecord } from './flag-record.js';
import { getFlag, getTargeting } from './flag-store.js';
import { editTargeting, patchTargeting } from './targeting-input.js';
import { revisionOf, viewTargeting } from './targeting-view.js';

/** Rules of a flag's targeting. It belongs to one environment, so a write locks and raises that one alone. */
export class TargetingService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  read(path: EnvironmentPath, flagKey: string): Reply {
    const { store } = this.#core;
    const { project, environment } = getEnvironment(store, path);
    const flag = getFlag(store, path.tenantId, project.projectId, flagKey);
    const record = getTargeting(store, environment, flag.key);
    const body = { ...viewTargeting(flagKey, path.environmentKey, record), revision: revisionOf(store, environment) };
    return { status: 200, body, etag: record.version };
  }

  put(write: WriteRequest, path: EnvironmentPath, flagKey: string, body: unknown): Promise<Reply> {
    return this.#write(write, path, flagKey, () => body);
  }

  update(write: WriteRequest, path: EnvironmentPath, flagKey: string, patch: Patch): Promise<Reply> {
    return this.#write(write, path, flagKey, (before) => patchTargeting(before, patch));
  }

  #write(
    write: WriteRequest,
    path: EnvironmentPath,
    flagKey: string,
    edit: (before: TargetingRecord) => unknown,
  ): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const { environmentId, projectId } = getEnvironment(store, path).environment;
    return committer.commit(write, { projectId, environmentId }, () => {
      const { project, environment } = getOpenEnvironment(store, path);
      const ref = refOf(environment);
      const flag = getFlag(store, path.tenantId, project.projectId, flagKey);
      const before = getTargeting(store, ref, flagKey);
      assertIfMatch(write, before);
      const after = editTargeting(flag, before, edit(before), { pointer: '', now: now() });
      const definitions = [{ put: flagDefinitionOf(flag, after) }];
      assertFits(committer.flagSetOf(ref), definitions, (kind, key) =>
        kind === 'flag' && key === flagKey ? '' : undefined,
      );
      const view = (record: TargetingRecord) => viewTargeting(flagKey, environment.key, record);
      const sentences = describeTargetingChange(before.targeting, after.targeting);
      return {
        owner: path.tenantId,
        action: 'targeting.update',
        subject: `projects/${project.key}/environments/${environment.key}/flags/${flagKey}/targeting`,
        summary: summarise(`flag ${flagKey} in ${environment.key}`, sentences),
        before: storedJson(view(before)),
        after: asJson(view(after)),
        records: [{ key: keys.targeting(ref, flagKey), read: before, value: after }],
        relied: [
          { key: keys.flag(path.tenantId, project.projectId, flagKey), read: flag },
          { key: keys.project(path.tenantId, project.key), read: project },
          { key: keys.environment(path.tenantId, project.projectId, environment.key), read: environment },
        ],
        environments: [{ environment: ref, definitions }],
        reply: ({ environments: [outcome] }) => ({
          status: 200,
          body: { ...view(after), revision: outcome?.revision },
          etag: after.version,
        }),
      };
    });
  }
}
