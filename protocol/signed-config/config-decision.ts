import type { Manifest } from './documents.js';

/** Order of a topic: nothing below it is ever accepted again, also across a restart (I7). */
export interface HighWaterMark {
  readonly epoch: number;
  /** Revision of config, sequence of an access list. */
  readonly revision: number;
  /** Of config: the definitions at that revision. '' for an access list. */
  readonly digest: string;
}

/** What to do with a manifest whose signature and environment are right. */
export type ConfigDecision =
  | { readonly action: 'apply'; readonly base: 'active' | 'nothing' }
  | { readonly action: 'fetch'; readonly reason: 'gap' | 'no-delta' }
  | { readonly action: 'ignore'; readonly reason: 'duplicate' | 'older' | 'quarantined' }
  | { readonly action: 'refuse'; readonly reason: 'fork' | 'fast-forward' | 'expired' };

/**
 * A jump further than this is a stolen key or a broken writer, not progress; a new epoch starts counting again. It bounds what one message
 * signed with a stolen key can do: a mark near the end of the numbers would lock the rightful writer out of this node for good (I7). Holds
 * for revisions of config and sequences of access lists alike, after the first of either.
 */
export const REVISION_JUMP_MAX = 1_000_000;
/** Epochs rise with a restore, a promotion or a rotation: one at a time, rarely. */
export const EPOCH_JUMP_MAX = 100;

export interface ConfigStanding {
  /** Never falls, not even across a restart (I7). */
  readonly mark: HighWaterMark | undefined;
  readonly active: HighWaterMark | undefined;
  /** What failed to come into force, and is not tried again (I10). */
  readonly quarantine: readonly { readonly digest: string }[];
  /** Wall clock, for expiry alone (I27). */
  readonly nowMs: number;
}

/** The revision rules of I7, I9 and I10 in one place, without state or I/O: every source of config asks here. */
export function decideConfig(
  manifest: Manifest,
  message: { readonly previousRevision: number; readonly hasDelta: boolean },
  { mark, active, quarantine, nowMs }: ConfigStanding,
): ConfigDecision {
  const order = mark === undefined ? 1 : compareOrder(manifest, mark);
  if (order < 0) return { action: 'ignore', reason: 'older' };
  if (order === 0 && manifest.digest !== mark?.digest) return { action: 'refuse', reason: 'fork' };
  if (active !== undefined && compareOrder(manifest, active) === 0) return { action: 'ignore', reason: 'duplicate' };
  if (quarantine.some(({ digest }) => digest === manifest.digest)) return { action: 'ignore', reason: 'quarantined' };
  if (isFastForward(manifest, mark)) {
    return { action: 'refuse', reason: 'fast-forward' };
  }
  // What was in force before a restart is not new: it may be loaded again although it has expired since (I12).
  if (order > 0 && manifest.expiresAt <= nowMs) return { action: 'refuse', reason: 'expired' };
  if (!message.hasDelta) return { action: 'fetch', reason: 'no-delta' };
  if (message.previousRevision === 0) return { action: 'apply', base: 'nothing' };
  const isNext = active?.epoch === manifest.epoch && active.revision === message.previousRevision;
  return isNext ? { action: 'apply', base: 'active' } : { action: 'fetch', reason: 'gap' };
}

/** True when `next` is further ahead of `mark` than anything honest is. */
export function isFastForward(
  next: { readonly epoch: number; readonly revision: number },
  mark: { readonly epoch: number; readonly revision: number } | undefined,
): boolean {
  if (mark === undefined) return false;
  if (next.epoch !== mark.epoch) return next.epoch - mark.epoch > EPOCH_JUMP_MAX;
  return next.revision - mark.revision > REVISION_JUMP_MAX;
}

/** Order is (epoch, revision) everywhere. */
export function compareOrder(
  a: { readonly epoch: number; readonly revision: number },
  b: { readonly epoch: number; readonly revision: number },
): number {
  return a.epoch === b.epoch ? a.revision - b.revision : a.epoch - b.epoch;
}

/** The higher of two marks; they never fall (I7). */
export function newestMark(a: HighWaterMark | undefined, b: HighWaterMark | undefined): HighWaterMark | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareOrder(a, b) < 0 ? b : a;
}
