import type { ChangeScope } from './change.js';

/**
 * Orders changes inside one process: a change of an environment excludes others of that environment, a change of a project excludes
 * all of its environments. It makes compile and commit see the same base without retries; what keeps the data right is
 * the check of versions and revisions inside the transaction.
 */
export class ProjectLocks {
  /** The tail of each queue; an entry goes when its last waiter is done, so the map is as large as what is running. */
  readonly #projects = new Map<string, ProjectQueue>();

  async run<Result>(scope: ChangeScope, work: () => Promise<Result>): Promise<Result> {
    if (scope === undefined) return work();
    const queue = this.#projects.get(scope.projectId) ?? { exclusive: undefined, environments: new Map(), count: 0 };
    this.#projects.set(scope.projectId, queue);
    queue.count += 1;
    try {
      return await enter(queue, scope.environmentId, work);
    } finally {
      queue.count -= 1;
      if (queue.count === 0) this.#projects.delete(scope.projectId);
    }
  }
}

interface ProjectQueue {
  /** Settles when the last queued change of the whole project is done. */
  exclusive: Promise<void> | undefined;
  /** Settles when the last queued change of that environment since `exclusive` is done. */
  environments: Map<string, Promise<void>>;
  count: number;
}

async function enter<Result>(
  queue: ProjectQueue,
  environmentId: string | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  const before =
    environmentId === undefined
      ? [queue.exclusive, ...queue.environments.values()]
      : [queue.environments.get(environmentId) ?? queue.exclusive];
  const result = Promise.all(before.filter((change) => change !== undefined)).then(work);
  const done = result.then(
    () => {},
    () => {},
  );
  if (environmentId === undefined) {
    queue.exclusive = done;
    queue.environments = new Map();
  } else {
    queue.environments.set(environmentId, done);
  }
  return result;
}
