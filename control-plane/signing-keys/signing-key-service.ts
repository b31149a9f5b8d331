import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import type { Action } from '../admin-api/policy.js';
import type { Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION } from '../store/keys.js';
import type { KeyStep } from './signing-keys.js';

export const signingKeySchema = z
  .object({
    id: z.string().describe('What documents name it by'),
    publicKey: z.string().describe('Raw Ed25519 key, base64url'),
    state: z
      .enum(['next', 'active', 'retired'])
      .describe('next: known, signs nothing yet; active: signs; retired: signed'),
    notAfter: timestampSchema.nullable().describe('What claims to be signed later is refused'),
  })
  .meta({ id: 'SigningKey' });

export const keySetSchema = z
  .object({
    trustRoot: z.string().describe('Fingerprint of the root key: what nodes and SDKs pin'),
    rootPublicKey: z.string(),
    version: z.int().describe('Of the set that the root has signed; only grows'),
    keys: z.array(signingKeySchema),
  })
  .meta({ id: 'SigningKeySet' });
export type KeySetView = z.infer<typeof keySetSchema>;

type Step = 'introduce' | 'activate' | 'revoke';
const ACTIONS = {
  introduce: 'signing-key.introduce',
  activate: 'signing-key.activate',
  revoke: 'signing-key.revoke',
} as const satisfies Record<Step, Action>;
const WORDS: Readonly<Record<Step, string>> = {
  introduce: 'Introduced the next signing key',
  activate: 'Signing from now on with key',
  revoke: 'Revoked signing key',
};

/** Rotation of the keys that nodes and SDKs verify with. */
export class SigningKeyService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  view(): KeySetView {
    const { trustRoot, rootPublicKey, version } = this.#core.signingKeys;
    const keys = this.#core.signingKeys
      .list()
      .map(({ keyId, publicKey, state, notAfter = null }) => ({ id: keyId, publicKey, state, notAfter }));
    return { trustRoot, rootPublicKey, version, keys };
  }

  introduce(write: WriteRequest): Promise<Reply> {
    return this.#take(write, 'introduce', () => this.#core.signingKeys.planIntroduction());
  }

  activate(write: WriteRequest, keyId: string): Promise<Reply> {
    return this.#take(write, 'activate', () => this.#core.signingKeys.planActivation(keyId), keyId);
  }

  revoke(write: WriteRequest, keyId: string): Promise<Reply> {
    return this.#take(write, 'revoke', () => this.#core.signingKeys.planRevocation(keyId), keyId);
  }

  /** The files change inside the transaction that records it: when they cannot be written, nothing is recorded. */
  #take(write: WriteRequest, step: Step, plan: () => KeyStep, keyId?: string): Promise<Reply> {
    const { committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = this.view();
      if (keyId !== undefined) assertIfMatch(write, before);
      const take = plan();
      return {
        owner: INSTALLATION,
        action: ACTIONS[step],
        subject: keyId === undefined ? 'signing-keys' : `signing-keys/${keyId}`,
        summary: keyId === undefined ? WORDS[step] : `${WORDS[step]} ${keyId}`,
        before: undefined,
        after: undefined,
        details: { keySetVersion: before.version + 1, ...(keyId === undefined ? {} : { keyId }) },
        records: [],
        reply: () => {
          take(now());
          const body = this.view();
          return { status: keyId === undefined ? 201 : 200, body, etag: body.version };
        },
      };
    });
  }
}
