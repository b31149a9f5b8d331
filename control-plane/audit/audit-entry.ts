import { hash } from 'node:crypto';
import { type EnvironmentId, type Json, PlatformError } from '@guidon/protocol';
import { hashLeaf } from '@guidon/protocol/audit-proof';
import type { AuditActor } from '../admin-api/actor.js';
import type { DiffEntry } from '../commit/diff.js';

/**
 * What one change leaves behind. Its JSON text is stored and hashed as it is, never written again from the parsed form (I23). `sequence` and
 * `previousHash` come first: the offline verifier reads them off the text.
 */
export interface AuditEntry {
  /** 1, 2, 3 … per owner. */
  readonly sequence: number;
  /** Hash of the entry before, '' at the first. */
  readonly previousHash: string;
  /** Epoch milliseconds. For people; order is the sequence. */
  readonly at: number;
  readonly actor: AuditActor;
  readonly requestId: string;
  /** Where the request came from; absent for what the platform does by itself. */
  readonly from?: RequestOrigin;
  readonly action: string;
  readonly subject: string;
  readonly summary: string;
  /** Why, in the actor's words; '' = not said. */
  readonly comment: string;
  /** What summary and digests do not say of a bulk change: counts, digest, a capped sample. */
  readonly details?: Json;
  /** What changed, member by member, as far as it fits; of what was left out `diffOmitted` says how many. */
  readonly diff: readonly DiffEntry[];
  readonly diffOmitted?: number;
  /** SHA-256 of the thing's JSON before and after, '' = not there. */
  readonly beforeDigest: string;
  readonly afterDigest: string;
  /** Absent: no hook was concerned. */
  readonly policy?: readonly PolicyVerdict[];
  readonly environments: readonly {
    readonly environmentId: EnvironmentId;
    readonly epoch: number;
    readonly previousRevision: number;
    /** Equal to the one before when the change reached nothing that is served. */
    readonly revision: number;
    readonly accessSequence: number;
  }[];
}

/** What a policy hook of the tenant said of a change. `not-asked`: an admin of the installation made it. */
export interface PolicyVerdict {
  readonly webhookId: string;
  readonly verdict: 'allowed' | 'not-asked';
}

/** Of a request, for the audit log. */
export interface RequestOrigin {
  readonly address: string;
  /** As sent, cut to USER_AGENT_CHARS_MAX. */
  readonly userAgent: string;
}
export const USER_AGENT_CHARS_MAX = 200;

/** The row under `keys.audit`. */
export interface AuditRow {
  readonly text: string;
  readonly hash: string;
}

/** The row under `keys.auditHead`. */
export interface AuditHead {
  readonly sequence: number;
  readonly hash: string;
  /** Of the Merkle tree over the entries, hex, as MerkleFrontier keeps them. */
  readonly peaks: readonly string[];
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

/** SHA-256 over 0x00 and the text, hex: the entry's leaf in the Merkle tree. */
export function hashAuditText(text: string): string {
  return Buffer.from(hashLeaf(text)).toString('hex');
}

export function digestOf(value: Json | undefined): string {
  return value === undefined ? '' : hash('sha256', JSON.stringify(value), 'hex');
}

/** Half of what an entry may have: the rest is for names, comment and details. */
const DIFF_BYTES_MAX = AUDIT_ENTRY_BYTES_MAX / 2;

/** The first entries of a diff that fit, in its order. */
export function boundedDiff(diff: readonly DiffEntry[]): Pick<AuditEntry, 'diff' | 'diffOmitted'> {
  let bytes = 0;
  const end = diff.findIndex((entry) => {
    bytes += Buffer.byteLength(JSON.stringify(entry)) + 1;
    return bytes > DIFF_BYTES_MAX;
  });
  return end < 0 ? { diff } : { diff: diff.slice(0, end), diffOmitted: diff.length - end };
}
