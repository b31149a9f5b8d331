import type { Versioned } from '../commit/change.js';
import type { SegmentList } from './segment-record.js';

/**
 * Row of an upload: keys that arrive in parts and take effect together. States: open -> gone, by `complete`, by `abort`, or by
 * expiry; rows of an expired upload are removed when the tenant starts another one.
 */
export interface UploadRecord extends Versioned {
  readonly id: string;
  readonly environmentId: string;
  readonly segmentKey: string;
  /** The segment it was started for: a new one with the same key is not it. */
  readonly segmentId: string;
  readonly list: SegmentList;
  readonly contextKind: string;
  readonly mode: 'add' | 'replace';
  /** Received so far, by part number. */
  readonly parts: readonly UploadPart[];
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface UploadPart {
  readonly part: number;
  readonly count: number;
  /** SHA-256 over the keys, one a line: tells a caller that resumes what has arrived. */
  readonly digest: string;
}

/** The row under `keys.uploadPart`. */
export interface UploadPartRow {
  readonly keys: readonly string[];
}

export const UPLOAD_TTL_MS = 24 * 3_600_000;
export const UPLOADS_PER_TENANT_MAX = 8;
export const PARTS_PER_UPLOAD_MAX = 1_000;
