import type { StoreTransaction } from '../store/control-store.js';
import { keys, type Scope } from '../store/keys.js';
import { type AuditEntry, type AuditHead, sealAuditEntry } from './audit-entry.js';

/** Appends to the owner's chain inside the transaction of the change itself. Returns the entry's sequence. */
export function appendAuditEntry(
  transaction: StoreTransaction,
  owner: Scope,
  entry: Omit<AuditEntry, 'sequence' | 'previousHash'>,
): number {
  const head = transaction.find<AuditHead>(keys.auditHead(owner)) ?? { sequence: 0, hash: '' };
  const sequence = head.sequence + 1;
  const row = sealAuditEntry({ sequence, previousHash: head.hash, ...entry });
  transaction.put(keys.audit(owner, sequence), row);
  transaction.put(keys.auditHead(owner), { sequence, hash: row.hash } satisfies AuditHead);
  return sequence;
}
