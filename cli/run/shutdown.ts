/** How long a drain may take before the process ends regardless. */
const DRAIN_MS_MAX = 25_000;

/**
 * Runs until SIGINT or SIGTERM, then closes in the given order and ends with status 0. A second signal ends at once; a drain that
 * hangs or fails ends with status 1. Returns what closes without a signal; called once more it changes nothing.
 */
export function closeOnSignal(close: () => Promise<void>): () => void {
  let isClosing = false;
  const end = (): void => {
    if (isClosing) return;
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
  const onSignal = (): void => {
    if (isClosing) process.exit(1);
    end();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return end;
}

/** On SIGHUP the certificate files are read again. What is wrong with them is said, and the certificate in use stays. */
export function reloadOnHangup(reloadCertificate: () => Promise<void> | void): void {
  process.on('SIGHUP', () => {
    void (async () => reloadCertificate())().then(
      () => console.error('guidon: the certificate was read again'),
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        console.error(`guidon: the certificate was not read again, the one before stays: ${reason}`);
      },
    );
  });
}
