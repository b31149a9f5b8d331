import { createHash } from 'node:crypto';
import { type EnvironmentId, type Json, PlatformError } from '@guidon/protocol';

/** What one change leaves behind. Its JSON text is stored and hashed as it is, never written again from the parsed form (I23). */
export interface AuditEntry {
  /** 1, 2, 3 … per owner. */
  readonly sequence: number;
  /** Hash of the entry before, '' at the first. */
  readonly previousHash: string;
  /** Epoch milliseconds. For people; order is the sequence. */
  readonly at: number;
  readonly actor: { readonly kind: string; readonly credentialId: string; readonly name: string };
  readonly requestId: string;
  readonly action: string;
  readonly subject: string;
  readonly summary: string;
  /** Why, in the actor's words; '' = not said. */
  readonly comment: string;
  /** What summary and digests do not say of a bulk change: counts, digest, a capped sample. */
  readonly details?: Json;
  /** SHA-256 of the thing's JSON before and after, '' = not there. */
  readonly beforeDigest: string;
  readonly afterDigest: string;
  readonly environments: readonly {
    readonly environmentId: EnvironmentId;
    readonly epoch: number;
    readonly revision: number;
    readonly accessSequence: number;
  }[];
}

/** The row under `keys.audit`. */
export interface AuditRow {
  readonly text: string;
  readonly hash: string;
}

/** The row under `keys.auditHead`. */
export interface AuditHead {
  readonly sequence: number;
  readonly hash: string;
}

export const AUDIT_ENTRY_BYTES_MAX = 64 * 1024;

/** A change whose entry would be larger is refused as a whole: no change without its trace. */
export function sealAuditEntry(entry: AuditEntry): AuditRow {
  const text = JSON.stringify(entry);
  if (Buffer.byteLength(text) > AUDIT_ENTRY_BYTES_MAX) {
    throw new PlatformError('limit-exceeded', `the audit entry of this change exceeds ${AUDIT_ENTRY_BYTES_MAX} bytes`);
  }
  return { text, hash: hashAuditText(text) };
}

/** Leaf hash of RFC 6962: SHA-256 over 0x00 and the text. */
export function hashAuditText(text: string): string {
  return createHash('sha256').update('\0').update(text).digest('hex');
}

export function digestOf(value: Json | undefined): string {
  return value === undefined ? '' : createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** Index of the first row that does not follow from the one before it; undefined when the chain holds. Rows from the first on. */
export function findAuditBreak(rows: readonly AuditRow[]): number | undefined {
  let previousHash = '';
  for (const [index, row] of rows.entries()) {
    if (hashAuditText(row.text) !== row.hash) return index;
    const entry = JSON.parse(row.text) as AuditEntry;
    if (entry.sequence !== index + 1 || entry.previousHash !== previousHash) return index;
    previousHash = row.hash;
  }
  return undefined;
}
