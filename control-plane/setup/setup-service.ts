import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import { SYSTEM_ACTOR } from '../admin-api/actor.js';
import { nameSchema } from '../admin-api/params.js';
import type { Reply, Versioned, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION_ADMINS } from '../credentials/platform-credential-routes.js';
import { PlatformCredentialService } from '../credentials/platform-credential-service.js';
import { newPasswordSchema, type PasswordHasher } from '../people/password-hasher.js';
import { emailSchema } from '../people/person-read-model.js';
import { newPersonId, planPerson } from '../people/person-store.js';
import { INSTALLATION, keys } from '../store/keys.js';

/** Row under `keys.setup`. States: absent -> waiting (a token was printed) -> done. A restart while waiting makes a new token. */
interface SetupRecord extends Versioned {
  /** SHA-256 of the token, hex; null once used. */
  readonly tokenHash: string | null;
}

export const setupBody = z
  .strictObject({
    token: z.string().max(256),
    name: nameSchema,
    email: emailSchema.optional().describe('With a password: makes an account to log in with, too'),
    password: newPasswordSchema.optional(),
  })
  .refine(({ email, password }) => (email === undefined) === (password === undefined), {
    error: 'send email and password together, or neither',
  });

/** How the first admin gets in: no default password, a link that works once. */
export class SetupService {
  readonly #core: ControlPlaneCore;
  readonly #hasher: PasswordHasher;

  constructor(core: ControlPlaneCore, hasher: PasswordHasher) {
    this.#core = core;
    this.#hasher = hasher;
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

  async complete(write: WriteRequest, body: z.infer<typeof setupBody>): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const { token, name, email, password } = body;
    this.#assertWaiting(token);
    const passwordHash = password === undefined ? undefined : await this.#hasher.hash(password);
    return committer.commit({ ...write, actor: SYSTEM_ACTOR }, undefined, () => {
      const before = this.#assertWaiting(token);
      const account =
        email === undefined || passwordHash === undefined
          ? []
          : planPerson(store, {
              personId: newPersonId(),
              email,
              name,
              passwordHash,
              isInstallationAdmin: true,
              createdAt: now(),
            }).records;
      const admins = new PlatformCredentialService(this.#core, INSTALLATION_ADMINS);
      const { change } = admins.planCreation({ name, notAfter: null });
      const after: SetupRecord = { version: before.version + 1, tokenHash: null };
      return {
        ...change,
        owner: INSTALLATION,
        action: 'setup.complete',
        summary: `Set the installation up with the first admin “${name}”`,
        records: [...change.records, ...account, { key: keys.setup(), read: before, value: after }],
      };
    });
  }

  #assertWaiting(token: string): SetupRecord {
    const record = this.#core.store.find<SetupRecord>(keys.setup());
    if (record === undefined || record.tokenHash === null) {
      throw new PlatformError('conflict', 'the setup link has been used');
    }
    if (!timingSafeEqual(Buffer.from(hashToken(token), 'hex'), Buffer.from(record.tokenHash, 'hex'))) {
      throw new PlatformError('invalid-credentials', 'this is not the setup link printed at the last start');
    }
    return record;
  }
}

function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
