import { type Issue, PlatformError } from '@guidon/protocol';
import type { z } from 'zod';
import type { Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { asJson } from '../flags/as-json.js';
import { assertFits } from '../flags/check-references.js';
import { summarise } from '../flags/describe-flag.js';
import { refusal } from '../flags/flag-input.js';
import { revisionOf } from '../flags/targeting-view.js';
import { reliedOf } from '../segments/segment-service.js';
import { type ChangeOperation, type changesBody, KEYS_PER_CHANGES_MAX } from './change-input.js';
import { EnvironmentDraft } from './environment-draft.js';

/** Many edits of one environment as one revision: all of them or none. */
export class ChangeService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  /** If-Match names the environment's revision: the edits were made against everything it serves. */
  apply(write: WriteRequest, path: EnvironmentPath, { changes }: z.infer<typeof changesBody>): Promise<Reply> {
    const { store, committer } = this.#core;
    assertKeyCount(changes);
    const { projectId, environmentId } = getEnvironment(store, path).environment;
    return committer.commit(write, { projectId, environmentId }, () => {
      const found = getOpenEnvironment(store, path);
      const environment = refOf(found.environment);
      assertIfMatch(write, { version: revisionOf(store, environment) });
      const draft = new EnvironmentDraft(this.#core, found);
      applyAll(draft, changes);
      const definitions = draft.definitions();
      assertFits(committer.flagSetOf(environment), definitions, (kind, key) => draft.pointerTo(kind, key));
      const summary = summarise(`environment ${path.environmentKey}`, draft.sentences);
      const details = draft.details();
      return {
        owner: path.tenantId,
        action: 'environment.change',
        subject: `projects/${found.project.key}/environments/${found.environment.key}`,
        summary,
        before: asJson(draft.view('read')),
        after: asJson(draft.view('now')),
        ...(details === undefined ? {} : { details }),
        records: draft.records(),
        relied: [...reliedOf(found), ...draft.relied()],
        environments: [{ environment, definitions }],
        reply: ({ environments: [outcome] }) => ({
          status: 200,
          body: { revision: outcome?.revision, summary, ...draft.versions() },
          ...(outcome === undefined ? {} : { etag: outcome.revision }),
        }),
      };
    });
  }
}

/** Every operation that is refused says so, at its own place; ones behind a refused one see what it did not do. */
function applyAll(draft: EnvironmentDraft, changes: readonly ChangeOperation[]): void {
  const issues: Issue[] = [];
  for (const [index, change] of changes.entries()) {
    try {
      draft.apply(change, `/changes/${index}`);
    } catch (error) {
      if (!(error instanceof PlatformError)) throw error;
      issues.push(...issuesOf(error, `/changes/${index}`));
    }
  }
  if (issues.length > 0) throw refusal(issues);
}

function issuesOf(error: PlatformError, pointer: string): readonly Issue[] {
  if (error.issues.length === 0) return [{ pointer, code: error.code, detail: error.message }];
  return error.issues.map((issue) =>
    issue.pointer.startsWith(pointer) ? issue : { ...issue, pointer: `${pointer}/patch${issue.pointer}` },
  );
}

function assertKeyCount(changes: readonly ChangeOperation[]): void {
  const count = changes.reduce(
    (sum, change) =>
      sum + (change.op === 'segment.keys' ? (change.add?.length ?? 0) + (change.remove?.length ?? 0) : 0),
    0,
  );
  if (count <= KEYS_PER_CHANGES_MAX) return;
  const detail = `all changes together add and remove at most ${KEYS_PER_CHANGES_MAX} keys`;
  throw refusal([{ pointer: '/changes', code: 'limit-exceeded', detail }]);
}
