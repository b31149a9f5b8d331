/** What one process gives its streams. */
export interface StreamBounds {
  /** Streams opened a second, and at once; more are told to come back before their key is looked at (threat model 2.2). */
  readonly connectsPerSecond: number;
  readonly connectBurst: number;
  /** Whole configurations, bytes a second, of all environments together. */
  readonly putBytesPerSecond: number;
  /** How long a stream may wait for its first frame. */
  readonly waitingMs: number;
  /** How long a client may take over a frame, beside a second per 256 KiB. */
  readonly slowMs: number;
  readonly heartbeatMs: number;
}

export const STREAM_BOUNDS: StreamBounds = {
  connectsPerSecond: 2_000,
  connectBurst: 4_000,
  putBytesPerSecond: 64 * 1024 * 1024,
  waitingMs: 30_000,
  slowMs: 30_000,
  heartbeatMs: 15_000,
};
