import { PlatformError, type TenantId } from '@guidon/protocol';
import type { TenantQuotas } from './tenant-quotas.js';

/** Tenants beyond this many push out the one that asked longest ago, which gets a full bucket when it comes back. */
const TENANTS_MAX = 10_000;

interface Bucket {
  tokens: number;
  atMs: number;
  /** Requests of the second that began at `secondFromMs`, and of the one before. */
  secondFromMs: number;
  count: number;
  countBefore: number;
}

/** Requests a second of each tenant's own people and machines to the admin API: a token bucket that holds one second's worth. */
export class RequestRates {
  readonly #quotasOf: (tenantId: TenantId) => TenantQuotas | undefined;
  readonly #nowMs: () => number;
  /** Least recently used first. */
  readonly #buckets = new Map<TenantId, Bucket>();

  /** `nowMs` is a clock that never goes back. */
  constructor(
    quotasOf: (tenantId: TenantId) => TenantQuotas | undefined,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#quotasOf = quotasOf;
    this.#nowMs = nowMs;
  }

  /** Counts one request; throws `rate-limited` when it is one too many. */
  admit(tenantId: TenantId): void {
    const allowed = this.#quotasOf(tenantId)?.adminRequestsPerSecond;
    const bucket = this.#take(tenantId, allowed ?? Number.POSITIVE_INFINITY);
    bucket.count += 1;
    if (allowed === undefined) return;
    if (bucket.tokens < 1) {
      const retryAfterSeconds = Math.max(1, Math.ceil((1 - bucket.tokens) / allowed));
      throw new PlatformError('rate-limited', `the tenant may make ${allowed} admin requests a second`, {
        extensions: { limit: 'adminRequestsPerSecond', used: this.lastSecond(tenantId), allowed, retryAfterSeconds },
      });
    }
    bucket.tokens -= 1;
  }

  /** Requests of the last whole second, or of this one when they are more. */
  lastSecond(tenantId: TenantId): number {
    const bucket = this.#buckets.get(tenantId);
    if (bucket === undefined) return 0;
    turn(bucket, this.#nowMs());
    return Math.max(bucket.count, bucket.countBefore);
  }

  #take(tenantId: TenantId, allowed: number): Bucket {
    const nowMs = this.#nowMs();
    const known = this.#buckets.get(tenantId);
    const bucket = known ?? { tokens: allowed, atMs: nowMs, secondFromMs: nowMs, count: 0, countBefore: 0 };
    const elapsedMs = nowMs - bucket.atMs;
    bucket.tokens = Math.min(allowed, elapsedMs > 0 ? bucket.tokens + (elapsedMs / 1_000) * allowed : bucket.tokens);
    bucket.atMs = nowMs;
    turn(bucket, nowMs);
    this.#buckets.delete(tenantId);
    this.#buckets.set(tenantId, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > TENANTS_MAX && oldest !== undefined) this.#buckets.delete(oldest);
    return bucket;
  }
}

function turn(bucket: Bucket, nowMs: number): void {
  const elapsedMs = nowMs - bucket.secondFromMs;
  if (elapsedMs < 1_000) return;
  bucket.countBefore = elapsedMs < 2_000 ? bucket.count : 0;
  bucket.count = 0;
  bucket.secondFromMs = nowMs - (elapsedMs % 1_000);
}
