/**
 * After a failed or overdue commit the store must not be used again by this process, and `process.exit` itself may hang on it
 * (I3, M3), so the process ends as if by kill -9. Whoever supervises it starts it anew; acknowledged writes are on disk.
 */
export function dieOnStoreFailure(error: unknown): void {
  console.error('guidon: the store failed; ending at once so that nothing unsafe is served:', error);
  process.kill(process.pid, 'SIGKILL');
}
