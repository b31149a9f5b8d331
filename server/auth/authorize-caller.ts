import { allowProblemToBeRead, assertOrigin } from '../cors.js';
import { admit } from '../quota/admit.js';
import type { QuotaLedger } from '../quota/quota-ledger.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import type { AccessDirectory, Caller } from './access-directory.js';

export interface AuthorizeParts {
  readonly directory: AccessDirectory;
  readonly ledger: QuotaLedger;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
}

/** The one way from a request to its environment (I16), with the origin rules of its kind of credential, and its quotas (I17). */
export function authorizeCaller({ directory, ledger, now }: AuthorizeParts, head: RequestHead, reply: Reply): Caller {
  allowProblemToBeRead(head, reply);
  const caller = directory.authenticate(head, now);
  if (head.origin !== '') assertOrigin(caller.entry, head.origin, reply);
  admit(ledger, caller, reply);
  return caller;
}
