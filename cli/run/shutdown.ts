/** How long a drain may take before the process ends regardless. */
const DRAIN_MS_MAX = 25_000;

/**
 * Runs until SIGINT or SIGTERM, then closes in the given order and ends with status 0. A second signal ends at once; a drain that
 * hangs or fails ends with status 1.
 */
export function closeOnSignal(close: () => Promise<void>): void {
  let isClosing = false;
  const onSignal = (): void => {
    if (isClosing) process.exit(1);
    isClosing = true;
    setTimeout(() => process.exit(1), DRAIN_MS_MAX).unref();
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error('guidon: the drain failed:', error);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
}
