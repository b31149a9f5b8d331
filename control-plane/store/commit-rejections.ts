let isHearing = false;

/**
 * After a failed commit lmdb rejects promises of its own that nobody can reach (M2, M4), which would end the process before the requests that
 * met the failure are answered. They are heard here from the first failure on; any other unhandled rejection still ends the process.
 */
export function hearCommitRejections(): void {
  if (isHearing) return;
  isHearing = true;
  process.on('unhandledRejection', (reason) => {
    if (isCommitRejection(reason)) return;
    throw reason;
  });
}

/** lmdb's "Commit failed…", or the error of the system call under it, which carries its number. */
function isCommitRejection(reason: unknown): boolean {
  if (!(reason instanceof Error)) return false;
  return reason.message.startsWith('Commit failed') || ('code' in reason && typeof reason.code === 'number');
}
