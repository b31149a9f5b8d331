import { createHash } from 'node:crypto';
import type { EnvironmentRef, Issue } from '@guidon/protocol';
import { compilePattern } from '../evaluate/regex.js';
import { BadBytes, check } from './byte-reader.js';
import type { CompiledSnapshot } from './compile-snapshot.js';
import { type BlockSummary, verifyBlock } from './verify-block.js';
import { verifyReferences, verifyRoot } from './verify-root.js';

/**
 * Refuses a snapshot that is cut, flipped, of another environment, layout or format, or inconsistent, and says why. Whatever the
 * bytes it never crashes, and what it accepts the kernel can neither trap nor loop on.
 */
export function verifySnapshot(
  snapshot: Pick<CompiledSnapshot, 'root' | 'blocks'>,
  environment: EnvironmentRef,
): Issue | undefined {
  return refusalOf(() => {
    const root = verifyRoot(snapshot.root, environment);
    const summaries: BlockSummary[] = [];
    for (const { id, byteCount } of root.blocks) {
      const block = snapshot.blocks.get(id);
      check(block !== undefined && block.length === byteCount, 'a block is missing or cut');
      check(createHash('sha256').update(block).digest('hex') === id, 'a block is not what its id says');
      const summary = verifyBlock(block);
      for (const pattern of summary.patterns) checkPattern(compilePattern(pattern) !== undefined);
      summaries.push(summary);
    }
    verifyReferences(root, summaries);
  });
}

export function checkPattern(isAccepted: boolean): void {
  check(isAccepted, 'a pattern is not accepted');
}

/** Runs a part of the verification; what it throws because of the bytes becomes an issue. */
export function refusalOf(verify: () => void): Issue | undefined {
  try {
    verify();
    return undefined;
  } catch (error) {
    return refusalFrom(error);
  }
}

/** The issue for what a verifier threw; anything else is thrown again. */
export function refusalFrom(error: unknown): Issue {
  // A DataView throws RangeError where an offset leads outside.
  if (!(error instanceof BadBytes) && !(error instanceof RangeError)) throw error;
  const detail = error instanceof BadBytes ? error.message : 'an offset leads outside';
  return { pointer: '', code: 'validation-failed', detail: `the snapshot is refused: ${detail}` };
}
