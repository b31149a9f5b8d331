import { percentile } from '../support/statistics.js';

export interface WriteRate {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Lets each of `writers` write one after the other for `durationMs`; what is still under way then is waited for and counted. */
export async function measureWrites(
  writers: readonly { write(): Promise<void> }[],
  durationMs: number,
): Promise<WriteRate> {
  const waits: number[] = [];
  const fromMs = performance.now();
  const run = async (writer: { write(): Promise<void> }) => {
    for (let startedMs = performance.now(); startedMs - fromMs < durationMs; startedMs = performance.now()) {
      await writer.write();
      waits.push(performance.now() - startedMs);
    }
  };
  await Promise.all(writers.map(run));
  const seconds = (performance.now() - fromMs) / 1_000;
  return {
    perSecond: waits.length / seconds,
    p50Ms: percentile(waits, 0.5),
    p99Ms: percentile(waits, 0.99),
  };
}
