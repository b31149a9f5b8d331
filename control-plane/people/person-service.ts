import { z } from 'zod';
import { nameSchema } from '../admin-api/params.js';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION } from '../store/keys.js';
import { getPerson, viewPerson } from './person-read-model.js';
import type { PersonRecord } from './person-record.js';
import { personWrite, withoutSessions } from './person-store.js';

const personPatchSchema = z.strictObject({
  name: nameSchema,
  isInstallationAdmin: z.boolean(),
  isDisabled: z.boolean(),
});

/** What installation admins do with people. */
export class PersonService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  /** What takes something from somebody, or gives it, ends his sessions. */
  update(write: WriteRequest, personId: string, patch: Patch): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getPerson(store, personId);
      assertIfMatch(write, before);
      const { name, isInstallationAdmin } = before;
      const current = { name, isInstallationAdmin, isDisabled: before.disabledAt !== null };
      const edited = parseWith(personPatchSchema, applyPatch(current, patch));
      const isOther =
        edited.isInstallationAdmin !== current.isInstallationAdmin || edited.isDisabled !== current.isDisabled;
      const after: PersonRecord = {
        ...(isOther ? withoutSessions(before) : { ...before, version: before.version + 1 }),
        name: edited.name,
        isInstallationAdmin: edited.isInstallationAdmin,
        disabledAt: edited.isDisabled ? (before.disabledAt ?? now()) : null,
      };
      return {
        owner: INSTALLATION,
        action: 'person.update',
        subject: `people/${personId}`,
        summary: `Edited the person ${edited.name}`,
        before: viewPerson(before),
        after: viewPerson(after),
        records: [personWrite(before, after)],
        reply: () => replyOf(after),
      };
    });
  }
}

export function replyOf(person: PersonRecord): Reply {
  return { status: 200, body: viewPerson(person), etag: person.version };
}
