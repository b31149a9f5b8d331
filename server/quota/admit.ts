import { PlatformError } from '@guidon/protocol';
import type { Reply } from '../reply.js';
import type { Accounts, QuotaLedger, QuotaName, QuotaScope } from './quota-ledger.js';

/**
 * Counts an authenticated request in, until its reply has ended; throws `rate-limited` with Retry-After instead when its tenant or credential
 * is over a quota, `overloaded` when too much of what was answered to the tenant waits to be taken. Both may close the connection.
 */
export function admit(ledger: QuotaLedger, accounts: Accounts, reply: Reply): void {
  if (!ledger.canHold(accounts.tenantAccount)) {
    ledger.refusals.heldBytes += 1;
    reply.closesConnection = true;
    throw NOT_TAKEN;
  }
  const waitSeconds = ledger.enter(accounts);
  if (waitSeconds === 0) {
    reply.enter(ledger, accounts);
    return;
  }
  reply.retryAfterSeconds = waitSeconds;
  reply.closesConnection ||= ledger.countRefusal(accounts.credentialAccount);
  const { scope, name } = ledger.lastRefusal;
  throw REFUSALS[scope][name];
}

/**
 * Runs `evaluate` in a pool slot of the tenant, or throws `rate-limited` with Retry-After when all of its slots are taken. Another tenant's
 * requests never stand in the way of one's own slots (I17).
 */
export async function inPoolSlot<Used>(
  ledger: QuotaLedger,
  { tenantAccount }: Accounts,
  reply: Reply,
  evaluate: () => Promise<Used>,
): Promise<Used> {
  if (!ledger.enterPool(tenantAccount)) {
    reply.retryAfterSeconds = POOL_RETRY_SECONDS;
    throw REFUSALS.tenant.poolSlots;
  }
  try {
    return await evaluate();
  } finally {
    ledger.leavePool(tenantAccount);
  }
}

const POOL_RETRY_SECONDS = 1;

// Made once: whoever floods us with requests over a quota must not make us write a stack trace for each.
const NOT_TAKEN = new PlatformError('overloaded', 'Too many answers wait to be read; read them before asking again.');
const REFUSALS: Readonly<Record<QuotaScope, Readonly<Record<QuotaName, PlatformError>>>> = {
  tenant: refusalsOf('tenant'),
  credential: refusalsOf('credential'),
};

function refusalsOf(scope: QuotaScope): Readonly<Record<QuotaName, PlatformError>> {
  const refusal = (what: string, quota: QuotaName): PlatformError =>
    new PlatformError('rate-limited', `This ${scope} is over its quota of ${what}.`, { extensions: { scope, quota } });
  return {
    requestsPerSecond: refusal('requests a second', 'requestsPerSecond'),
    evaluationsPerSecond: refusal('evaluations a second', 'evaluationsPerSecond'),
    connections: refusal('connections with a request in progress', 'connections'),
    poolSlots: refusal('large requests at one time', 'poolSlots'),
  };
}
