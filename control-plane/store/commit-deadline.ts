import { PlatformError } from '@guidon/protocol';

/** The deadline is counted in slices of this, so that a busy event loop counts as one slice and not as a slow disk. */
const DEADLINE_SLICE_MS = 100;

/**
 * Rejects with `outcome-unknown` after `deadlineMs` in which the event loop could have taken the result. A plan that keeps it busy for
 * seconds (a million keys) also keeps every commit's own callback from running: that is no reason to end the process (I3, M3).
 */
export function withCommitDeadline<Result>(committed: Promise<Result>, deadlineMs: number): Promise<Result> {
  return new Promise((resolve, reject) => {
    let leftMs = deadlineMs;
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      const sliceMs = Math.min(leftMs, DEADLINE_SLICE_MS);
      leftMs -= sliceMs;
      timer = setTimeout(leftMs > 0 ? wait : giveUp, sliceMs);
    };
    // A commit that settled while the loop was busy still counts as settled.
    const giveUp = (): void => {
      setImmediate(() =>
        setImmediate(() => reject(new PlatformError('outcome-unknown', 'the commit did not finish in time'))),
      );
    };
    wait();
    committed.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
