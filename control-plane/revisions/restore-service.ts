import { PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import { keySchema } from '../admin-api/params.js';
import type { Reply, WriteRequest } from '../commit/change.js';
import { assertKept, namesTouchedBetween } from '../commit/definition-history.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { assertFits } from '../flags/check-references.js';
import { summarise } from '../flags/describe-flag.js';
import { refusal } from '../flags/flag-input.js';
import { revisionOf } from '../flags/targeting-view.js';
import { reliedOf } from '../segments/segment-service.js';
import { differencesOf } from './compare-revisions.js';
import { PastDefinitions } from './past-definitions.js';
import { NOT_RESTORED_REASONS, RestoreDraft } from './restore-draft.js';

export const restoreBody = z.strictObject({
  flagKey: keySchema.optional().describe('Restore this flag’s targeting alone; absent: the whole environment'),
});

export const restoreReplySchema = z
  .object({
    revision: z.int().describe('Of the environment'),
    summary: z.string(),
    restored: z.object({ flags: z.array(z.string()), segments: z.array(z.string()) }),
    notRestored: z
      .array(z.object({ kind: z.enum(['flag', 'segment']), key: z.string(), reason: z.enum(NOT_RESTORED_REASONS) }))
      .describe(
        'Left as it is. newer: not in that revision; shared: variations and visibility belong to the project, targeting is restored',
      ),
  })
  .meta({ id: 'Restored' });

/** What the audit entry names of what was left alone. */
const NOT_RESTORED_KEPT_MAX = 20;

/** Puts in force again what a revision served, as a new revision. */
export class RestoreService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  /** If-Match names the revision in force, as for `changes`: what is given up was seen. */
  restore(
    write: WriteRequest,
    path: EnvironmentPath,
    revision: number,
    { flagKey }: z.infer<typeof restoreBody>,
  ): Promise<Reply> {
    const { store, committer } = this.#core;
    const { projectId, environmentId } = getEnvironment(store, path).environment;
    return committer.commit(write, { projectId, environmentId }, () => {
      const found = getOpenEnvironment(store, path);
      const environment = refOf(found.environment);
      const current = revisionOf(store, environment);
      assertIfMatch(write, { version: current });
      assertKept(store, environment, revision);
      const past = new PastDefinitions(store, environment);
      const draft = new RestoreDraft(this.#core, found, past, revision);
      if (flagKey === undefined) {
        const names = namesTouchedBetween(store, environment, revision, current);
        draft.restoreAll(differencesOf(past, names, current, revision));
      } else restoreOne(draft, past, revision, flagKey);
      if (draft.issues.length > 0) throw refusal(draft.issues);
      const definitions = draft.definitions();
      assertFits(committer.flagSetOf(environment), definitions, (kind, key) => `/${kind}s/${key}`);
      const what = flagKey === undefined ? '' : `flag ${flagKey} in `;
      const summary = summarise(`${what}environment ${path.environmentKey} restored to ${revision}`, draft.sentences);
      const { notRestored } = draft;
      return {
        owner: path.tenantId,
        action: 'environment.change',
        subject: `projects/${found.project.key}/environments/${found.environment.key}`,
        summary,
        before: draft.view('read'),
        after: draft.view('now'),
        details: {
          restoredRevision: revision,
          notRestoredCount: notRestored.length,
          notRestored: notRestored.slice(0, NOT_RESTORED_KEPT_MAX).map((one) => ({ ...one })),
        },
        records: draft.records(),
        relied: [...reliedOf(found), ...draft.relied()],
        environments: [{ environment, definitions }],
        reply: ({ environments: [outcome] }) => ({
          status: 200,
          body: { revision: outcome?.revision, summary, restored: draft.restored(), notRestored },
          ...(outcome === undefined ? {} : { etag: outcome.revision }),
        }),
      };
    });
  }
}

/** One flag that cannot be restored is refused: there is nothing else to do. */
function restoreOne(draft: RestoreDraft, past: PastDefinitions, revision: number, flagKey: string): void {
  const definition = past.find('flag', flagKey, revision);
  if (definition === undefined) throw missing(`revision ${revision} has no flag ${flagKey}`);
  const reason = draft.restoreFlag(definition);
  if (reason === 'deleted') throw missing(`there is no flag ${flagKey} any more`);
  if (reason === 'archived') throw new PlatformError('conflict', `the flag ${flagKey} is archived`);
  if (reason === 'key-used-again') {
    throw new PlatformError('conflict', `the flag ${flagKey} of revision ${revision} was deleted; this is another one`);
  }
  if (reason !== undefined) draft.notRestored.push({ kind: 'flag', key: flagKey, reason });
}

function missing(detail: string): PlatformError {
  return refusal([{ pointer: '/flagKey', code: 'dangling-reference', detail }]);
}
