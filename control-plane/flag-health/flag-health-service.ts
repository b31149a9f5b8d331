import type { z } from 'zod';
import type { Reply, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { getFlag } from '../flags/flag-store.js';
import { keys } from '../store/keys.js';
import { type FlagHealthRecord, type flagHealthBody, viewFlagHealth } from './flag-health-record.js';

/** Whether a flag does well where it is used: said by people and by alerts, told by the feed. It switches nothing. */
export class FlagHealthService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  read(path: EnvironmentPath, flagKey: string): Reply {
    const record = this.find(path, flagKey);
    return { status: 200, body: viewFlagHealth(flagKey, record) };
  }

  /** Throws the common 404 when there is no such flag. */
  find(path: EnvironmentPath, flagKey: string): FlagHealthRecord | undefined {
    const { store } = this.#core;
    const { project, environment } = getEnvironment(store, path);
    getFlag(store, path.tenantId, project.projectId, flagKey);
    return store.find<FlagHealthRecord>(keys.flagHealth(refOf(environment), flagKey));
  }

  mark(
    write: WriteRequest,
    path: EnvironmentPath,
    flagKey: string,
    { health, reason }: z.infer<typeof flagHealthBody>,
  ): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const { project, environment } = getOpenEnvironment(store, path);
      const { tenantId } = path;
      const flag = getFlag(store, tenantId, project.projectId, flagKey);
      const key = keys.flagHealth(refOf(environment), flagKey);
      const before = store.find<FlagHealthRecord>(key);
      const version = (before?.version ?? 0) + 1;
      const after: FlagHealthRecord = { version, tenantId, flagKey, health, reason, since: now() };
      return {
        owner: tenantId,
        action: 'flag.mark-health',
        subject: `projects/${project.key}/environments/${environment.key}/flags/${flagKey}/health`,
        summary: `Marked flag ${flagKey} ${health} in ${environment.key}${reason === '' ? '' : `: ${reason}`}`,
        before: viewFlagHealth(flagKey, before),
        after: viewFlagHealth(flagKey, after),
        records: [{ key, read: before, value: after }],
        relied: [
          { key: keys.flag(tenantId, project.projectId, flagKey), read: flag },
          { key: keys.environment(tenantId, project.projectId, environment.key), read: environment },
        ],
        reply: () => ({ status: 200, body: viewFlagHealth(flagKey, after) }),
      };
    });
  }
}
