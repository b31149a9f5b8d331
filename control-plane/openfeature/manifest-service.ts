import { PlatformError, type TenantId } from '@guidon/protocol';
import { MERGE_PATCH } from '../admin-api/patch.js';
import { notFound } from '../admin-api/problems.js';
import type { Reply, WriteRequest } from '../commit/change.js';
import { etagOf } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import type { FlagRecord } from '../flags/flag-record.js';
import { FlagService } from '../flags/flag-service.js';
import { findFlag, listFlags } from '../flags/flag-store.js';
import { type FlagView, flagSchema, viewFlag } from '../flags/flag-view.js';
import { getProject } from '../projects/project-read-model.js';
import {
  flagCreateOf,
  flagPatchOf,
  type ManifestCreate,
  type ManifestUpdate,
  manifestFlagOf,
} from './manifest-flag.js';

/** Flags as OpenFeature's command line reads and writes them. Every write is one of FlagService. */
export class ManifestService {
  readonly #core: ControlPlaneCore;
  readonly #flags: FlagService;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
    this.#flags = new FlagService(core);
  }

  read(tenantId: TenantId, projectKey: string): Reply {
    const { projectId } = getProject(this.#core.store, tenantId, projectKey);
    const flags = listFlags(this.#core.store, tenantId, projectId).filter(({ archivedAt }) => archivedAt === null);
    return { status: 200, body: { flags: flags.map((flag) => manifestFlagOf(viewFlag(flag))) } };
  }

  create(write: WriteRequest, tenantId: TenantId, projectKey: string, body: ManifestCreate): Promise<Reply> {
    return replied(write, flagAnswer, (request) =>
      this.#flags.create(request, tenantId, projectKey, flagCreateOf(body)),
    );
  }

  update(
    write: WriteRequest,
    tenantId: TenantId,
    projectKey: string,
    flagKey: string,
    body: ManifestUpdate,
  ): Promise<Reply> {
    const flag = this.#getOpen(tenantId, projectKey, flagKey);
    if (body.key !== flagKey) {
      throw new PlatformError('validation-failed', 'the key of the path and of the body are not the same', {
        issues: [{ pointer: '/key', code: 'validation-failed', detail: 'is not the key of the path' }],
      });
    }
    const patch = { type: MERGE_PATCH, document: flagPatchOf(flag, body) } as const;
    return replied(asRead(write, flag), flagAnswer, (request) =>
      this.#flags.update(request, tenantId, projectKey, flagKey, patch),
    );
  }

  /** Into the archive: from there a person takes it back, or deletes it. */
  archive(write: WriteRequest, tenantId: TenantId, projectKey: string, flagKey: string): Promise<Reply> {
    const flag = this.#getOpen(tenantId, projectKey, flagKey);
    const message = `the flag ${flagKey} is in the archive, where it can be taken back from`;
    const answer = ({ updatedAt }: FlagView): object => ({ message, archivedAt: timeOf(updatedAt) });
    return replied(asRead(write, flag), answer, (request) =>
      this.#flags.setArchived(request, tenantId, projectKey, flagKey, true),
    );
  }

  #getOpen(tenantId: TenantId, projectKey: string, flagKey: string): FlagRecord {
    const { projectId } = getProject(this.#core.store, tenantId, projectKey);
    const flag = findFlag(this.#core.store, tenantId, projectId, flagKey);
    if (flag === undefined) throw notFound();
    if (flag.archivedAt !== null)
      throw new PlatformError('conflict', 'the flag is archived: take it out of the archive');
    return flag;
  }
}

/** The API has no If-Match: a write is of what was just read, and loses against one in between. */
const asRead = (write: WriteRequest, { version }: FlagRecord): WriteRequest => ({
  ...write,
  ifMatch: [etagOf(version)],
});

const timeOf = (ms: number): string => new Date(ms).toISOString();
const flagAnswer = (flag: FlagView): object => ({ flag: manifestFlagOf(flag), updatedAt: timeOf(flag.updatedAt) });

/** Words what `commit` answers, also where it is kept for a repetition of the request. Reports of dry runs stay as they are. */
async function replied(
  write: WriteRequest,
  word: (flag: FlagView) => object,
  commit: (write: WriteRequest) => Promise<Reply>,
): Promise<Reply> {
  const worded = (reply: Reply): Reply => {
    if (typeof reply.body === 'object' && reply.body !== null && 'dryRun' in reply.body) return reply;
    return { status: reply.status, body: word(flagSchema.parse(reply.body)) };
  };
  const { remember } = write;
  const kept: WriteRequest['remember'] = remember && ((transaction, reply) => remember(transaction, worded(reply)));
  return worded(await commit({ ...write, remember: kept }));
}
