import type { PolicyVerdict } from '../audit/audit-entry.js';
import type { Change, WriteRequest } from './change.js';
import type { PreparedEnvironment } from './prepare-environment.js';

/**
 * Asked about a change that compiles, before it is written, while its scope is locked; throws to refuse it. Undefined: nobody has to be asked, so
 * that nothing is waited for. What it resolves with goes into the audit entry.
 */
export type Review = (
  write: WriteRequest,
  change: Change,
  prepared: readonly PreparedEnvironment[],
) => Promise<readonly PolicyVerdict[]> | undefined;
