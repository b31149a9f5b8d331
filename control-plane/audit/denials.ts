import type { Logger } from 'pino';
import { type Actor, auditActorOf, scopeOf } from '../admin-api/actor.js';
import type { Action } from '../admin-api/policy.js';
import type { RequestOrigin } from './audit-entry.js';
import type { BoundedRecorder } from './bounded-recorder.js';

/** What was refused to whom. */
export interface Denial {
  readonly actor: Actor;
  readonly action: Action;
  readonly requestId: string;
  readonly from: RequestOrigin;
}

/** Records refusals in the refused actor's own log. */
export class DenialRecorder {
  readonly #recorder: BoundedRecorder;
  readonly #logger: Logger;

  constructor(recorder: BoundedRecorder, logger: Logger) {
    this.#recorder = recorder;
    this.#logger = logger;
  }

  record({ actor, action, requestId, from }: Denial): void {
    const { credentialId, kind } = actor;
    this.#logger.info({ requestId, credentialId, kind, action }, 'authz.denied');
    this.#recorder.record(credentialId, scopeOf(actor), {
      actor: auditActorOf(actor),
      requestId,
      from,
      action: 'authz.denied',
      subject: action,
      summary: `Refused ${action}`,
    });
  }
}
