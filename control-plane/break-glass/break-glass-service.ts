import { PlatformError } from '@guidon/protocol';
import type { Actor } from '../admin-api/actor.js';
import type { Reply, Versioned, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION_ADMINS } from '../credentials/platform-credential-routes.js';
import { PlatformCredentialService } from '../credentials/platform-credential-service.js';
import { INSTALLATION, keys } from '../store/keys.js';
import { findBreakGlass, REASON_CHARS_MAX } from './break-glass-assertion.js';

const TOKEN_MS = 3_600_000;

/** Row under `keys.breakGlass`: an assertion that has been used. */
interface UsedAssertion extends Versioned {
  readonly usedAt: number;
}

const ACTOR: Actor = { kind: 'system', credentialId: 'break-glass', name: 'break-glass' };

/**
 * The way in when nobody else can: needs the control plane and its own files, no provider, no bus, no node and no person. Whoever uses it is an
 * installation admin for an hour, and nobody overlooks it: an audit entry, and an error in the log.
 */
export class BreakGlassService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  async open(write: WriteRequest, text: string): Promise<Reply> {
    const { store, committer, signingKeys, now, logger } = this.#core;
    const assertion = findBreakGlass(text, signingKeys.signingKey.publicKey, now());
    const refusal = new PlatformError(
      'invalid-credentials',
      'this was not signed just now with the key of this installation',
    );
    if (assertion === undefined) throw refusal;
    const reason = assertion.reason.slice(0, REASON_CHARS_MAX);
    const key = keys.breakGlass(assertion.id);
    const reply = await committer.commit({ ...write, actor: ACTOR }, undefined, () => {
      if (store.has(key)) throw refusal;
      const admins = new PlatformCredentialService(this.#core, INSTALLATION_ADMINS);
      const { change } = admins.planCreation({ name: 'break-glass', notAfter: now() + TOKEN_MS });
      const used: UsedAssertion = { version: 1, usedAt: now() };
      return {
        ...change,
        owner: INSTALLATION,
        action: 'break-glass.open',
        summary: `BREAK-GLASS: somebody on the machine is installation admin for an hour: ${reason}`,
        records: [...change.records, { key, read: undefined, value: used }],
      };
    });
    logger.error({ requestId: write.requestId, from: write.from, reason }, 'break-glass was opened');
    return reply;
  }
}
