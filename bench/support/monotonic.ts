/** The system's monotonic clock, which all processes share, milliseconds. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;
