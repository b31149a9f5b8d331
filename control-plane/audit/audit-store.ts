import { MerkleFrontier } from '@guidon/protocol/audit-proof';
import type { StoreReader, StoreTransaction } from '../store/control-store.js';
import { keys, type Scope } from '../store/keys.js';
import { type AuditEntry, type AuditHead, type AuditRow, sealAuditEntry } from './audit-entry.js';

const EMPTY: AuditHead = { sequence: 0, hash: '', peaks: [] };

/** Appends to the owner's log inside the transaction of the change itself. Returns the entry's sequence. */
export function appendAuditEntry(
  transaction: StoreTransaction,
  owner: Scope,
  entry: Omit<AuditEntry, 'sequence' | 'previousHash'>,
): number {
  const head = readAuditHead(transaction, owner);
  const sequence = head.sequence + 1;
  const row = sealAuditEntry({ sequence, previousHash: head.hash, ...entry });
  transaction.put(keys.audit(owner, sequence), row);
  putHead(transaction, owner, head, row);
  return sequence;
}

export function readAuditHead(store: Pick<StoreReader, 'find'>, owner: Scope): AuditHead {
  return store.find<AuditHead>(keys.auditHead(owner)) ?? EMPTY;
}

/** The head after `row`, and the subtrees that `row` has made full. */
function putHead(transaction: StoreTransaction, owner: Scope, head: AuditHead, { hash }: AuditRow): AuditHead {
  const frontier = frontierOf(head);
  for (const node of frontier.append(Buffer.from(hash, 'hex'))) {
    transaction.put(keys.auditNode(owner, node.level, node.index), Buffer.from(node.hash).toString('hex'));
  }
  const next = {
    sequence: frontier.size,
    hash,
    peaks: frontier.peaks.map((peak) => Buffer.from(peak).toString('hex')),
  };
  transaction.put(keys.auditHead(owner), next);
  return next;
}

export function frontierOf({ sequence, peaks }: AuditHead): MerkleFrontier {
  return new MerkleFrontier(
    sequence,
    peaks.map((peak) => Buffer.from(peak, 'hex')),
  );
}

const REBUILD_PAGE_ROWS = 1_000;

/** Makes the Merkle tree of a log that has none yet, from its entries. May be done again from the start. */
export function rebuildAuditTree(transaction: StoreTransaction, owner: Scope): void {
  let head = EMPTY;
  for (;;) {
    const page = { after: head.sequence, limit: REBUILD_PAGE_ROWS };
    const rows = transaction.list<AuditRow>(keys.auditEntries(owner), page);
    for (const { value } of rows) head = putHead(transaction, owner, head, value);
    if (rows.length < REBUILD_PAGE_ROWS) return;
  }
}
