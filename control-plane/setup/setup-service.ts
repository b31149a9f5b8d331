import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import { SYSTEM_ACTOR } from '../admin-api/actor.js';
import { nameSchema } from '../admin-api/params.js';
import type { Reply, Versioned, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION_ADMINS } from '../credentials/platform-credential-routes.js';
import { PlatformCredentialService } from '../credentials/platform-credential-service.js';
import { INSTALLATION, keys } from '../store/keys.js';

/** Row under `keys.setup`. States: absent -> waiting (a token was printed) -> done. A restart while waiting makes a new token. */
interface SetupRecord extends Versioned {
  /** SHA-256 of the token, hex; null once used. */
  readonly tokenHash: string | null;
}

export const setupBody = z.strictObject({ token: z.string().max(256), name: nameSchema });

/** How the first admin gets in: no default password, a link that works once. */
export class SetupService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  /** The token of the link to print; undefined when somebody has used one already. */
  async open(): Promise<string | undefined> {
    const { store } = this.#core;
    const before = store.find<SetupRecord>(keys.setup());
    if (before !== undefined && before.tokenHash === null) return undefined;
    const token = randomBytes(32).toString('base64url');
    await store.transaction((transaction) => {
      const record: SetupRecord = { version: (before?.version ?? 0) + 1, tokenHash: hashToken(token) };
      transaction.put(keys.setup(), record);
    });
    return token;
  }

  complete(write: WriteRequest, { token, name }: z.infer<typeof setupBody>): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit({ ...write, actor: SYSTEM_ACTOR }, undefined, () => {
      const before = store.find<SetupRecord>(keys.setup());
      if (before === undefined || before.tokenHash === null) {
        throw new PlatformError('conflict', 'the setup link has been used');
      }
      if (!timingSafeEqual(Buffer.from(hashToken(token), 'hex'), Buffer.from(before.tokenHash, 'hex'))) {
        throw new PlatformError('invalid-credentials', 'this is not the setup link printed at the last start');
      }
      const admins = new PlatformCredentialService(this.#core, INSTALLATION_ADMINS);
      const { change } = admins.planCreation({ name, notAfter: null });
      const after: SetupRecord = { version: before.version + 1, tokenHash: null };
      return {
        ...change,
        owner: INSTALLATION,
        action: 'setup.complete',
        summary: `Set the installation up with the first admin “${name}”`,
        records: [...change.records, { key: keys.setup(), read: before, value: after }],
      };
    });
  }
}

function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
